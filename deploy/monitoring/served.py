"""Rows of the dashboard: how the service does, what fails, and what is in force."""

from panels import Panel, Row, gauge, mean, per_second, quantile, quantiles

LATENCY = Row(
    "Latency by phase",
    [
        Panel(
            "Verdicts, beside the budget",
            {
                "p50": quantile(0.5, "interlock_screen_seconds"),
                "p99": quantile(0.99, "interlock_screen_seconds"),
                "budget": gauge("interlock_latency_budget_seconds", "job"),
            },
            "Nothing takes longer than the budget: what would is withheld. p99 well below it.",
            unit="s",
        ),
        Panel(
            "Verdicts, p99 by RPC and decision",
            {"{{rpc}} {{decision}}": quantile(0.99, "interlock_screen_seconds", "rpc,decision")},
            "Releases wait for every member, refusals for none.",
            unit="s",
        ),
        Panel(
            "RPCs, p99", {"{{grpc_method}}": quantile(0.99, "grpc_server_handling_seconds", "grpc_method")},
            "With everything around the verdicts. Streams last as long as their texts take to be written.",
            unit="s",
        ),
        Panel(
            "Members, p99 of waiting",
            {"{{member}}": quantile(0.99, "interlock_member_seconds", "member", 'phase="queue"')},
            "Higher than the time of the model: too few lanes, or too much traffic.",
            unit="s",
        ),
        Panel(
            "Members, p99 of reading",
            {"{{member}}": quantile(0.99, "interlock_member_seconds", "member", 'phase="tokenize"')},
            "Views and tokens.",
            unit="s",
        ),
        Panel(
            "Members, p99 of the model",
            {"{{member}}": quantile(0.99, "interlock_member_seconds", "member", 'phase="infer"')},
            "A rise without longer texts: the machine is slower than it was.",
            unit="s",
        ),
        Panel(
            "Learned cost of a call, at least", {"{{member}}": gauge("interlock_run_cost_base_seconds", "member")},
            "What admission reckons with.",
            unit="s",
        ),
        Panel(
            "Learned cost of a token", {"{{member}}": gauge("interlock_run_cost_seconds_per_token", "member")},
            "The same, for each token of a call.",
            unit="s",
        ),
        Panel(
            "Tokens scored for each token of the text",
            {"{{member}}": mean("interlock_tokens_scored_per_input_token", "member")},
            "Prompts, overlaps and further views. Plain prose stays below 2.5.",
        ),
    ],
)  # fmt: skip

QUEUES = Row(
    "Queues and batches",
    [
        Panel(
            "Works that wait, by lane", {"{{instance}} {{lane}}": gauge("interlock_queue_depth", "instance,lane", "sum")},
            "Comes back to zero again and again.",
        ),
        Panel(
            "Requests and streams under way",
            {
                "{{instance}} requests": gauge("interlock_requests_in_flight", "instance"),
                "{{instance}} streams": gauge("interlock_streams_active", "instance"),
            },
            "Replicas with much more than the others: connections that are too old.",
        ),
        Panel(
            "Refused before any work, by cause", {"{{why}}": per_second("interlock_admission_refused_total", "why")},
            "predicted_wait: more replicas; the others: a limit is too low.",
            unit="ops",
        ),
        Panel(
            "Windows in a call", {"{{member}}": mean("interlock_batch_size", "member")},
            "Calls of 1 under load on a GPU: texts differ too much in length, or lanes are too many.",
        ),
        Panel(
            "Tokens in a call", {"{{member}}": mean("interlock_batch_tokens", "member")},
            "With padding.",
        ),
        Panel(
            "Spans, by what became of them", {"{{result}}": per_second("interlock_spans_total", "result")},
            "failed: the collector does not take them; dropped: too many wait. Nothing without tracing.",
            unit="ops", stacked=True,
        ),
        Panel(
            "Cache", {"{{result}}": per_second("interlock_evidence_cache_total", "result")},
            "Few hits: turn it off.",
            unit="ops", stacked=True,
        ),
        Panel(
            "Bytes that streams hold back", {"{{instance}}": gauge("interlock_stream_held_bytes", "instance")},
            "Bytes that only grow: members are slow or missing.",
            unit="bytes",
        ),
    ],
)  # fmt: skip

OUTAGES = Row(
    "Outages by cause",
    [
        Panel(
            "Members without evidence, by cause",
            {"{{cause}}": per_second("interlock_missing_total", "cause")},
            "FAILED, INVALID: see the log for `error_type`; TIMED_OUT: too slow; NOT_ASKED: refused before.",
            unit="ops",
        ),
        Panel(
            "Share without evidence, by member", {"{{instance}} {{member}}": 'interlock:missing:ratio_rate5m{job=~"$job"}'},
            "A required member at 1 withholds everything.",
            unit="percentunit",
        ),
        Panel(
            "Breakers", {"{{instance}} {{member}}": gauge("interlock_breaker_state", "instance,member")},
            "0 asked, 1 tried again, 2 not asked.",
            most=2,
        ),
        Panel(
            "Lanes that hang", {"{{instance}}": gauge("interlock_lanes_lost", "instance")},
            "Above inference.lanes_lost_max the process exits to be restarted.",
        ),
        Panel(
            "Processor", {"{{instance}}": per_second("process_cpu_seconds_total", "instance")},
            "Cores in use; the lanes take as many as there are.",
        ),
        Panel(
            "Memory",
            {
                "{{instance}} resident": gauge("process_resident_memory_bytes", "instance"),
                "{{instance}} virtual": gauge("process_virtual_memory_bytes", "instance"),
            },
            "Resident memory is flat under steady load.",
            unit="bytes",
        ),
        Panel(
            "Open files",
            {
                "{{instance}}": gauge("process_open_fds", "instance"),
                "{{instance}} at most": gauge("process_max_fds", "instance"),
            },
            "Connections are files too.",
        ),
        Panel(
            "Members that are required", {"{{member}}": gauge("interlock_member_required", "member")},
            "0: it only watches, and its outages withhold nothing.",
            kind="stat",
        ),
        Panel(
            "Servers that answer", {"{{job}}": 'sum by (job) (up{job=~"$job",instance=~"$instance"})'},
            "As many as there should be.",
            kind="stat",
        ),
    ],
)  # fmt: skip

AUDIT = Row(
    "Audit",
    [
        Panel(
            "Records, by what became of them", {"{{result}}": per_second("interlock_audit_records_total", "result")},
            "failed: the disk is full or broken; dropped: it is too slow.",
            unit="ops", stacked=True,
        ),
        Panel(
            "Healthy", {"{{instance}}": gauge("interlock_audit_healthy", "instance", "min")},
            "1. Nothing where no log is kept.",
            most=1,
        ),
        Panel(
            "Time to write a group", quantiles("interlock_audit_commit_seconds", (0.5, 0.99)),
            "p99 below audit.commit_reserve_ms.",
            unit="s",
        ),
        Panel(
            "Records that wait", {"{{instance}}": gauge("interlock_audit_queue", "instance")},
            "Comes back to zero again and again.",
        ),
    ],
)  # fmt: skip

ROLLOUT = Row(
    "Rollout",
    [
        Panel(
            "What runs", {"{{policy}} {{build}} {{provider}}": gauge("interlock_info", "bundle,policy,build,provider", "sum")},
            "Servers by policy, build and provider. One of them, but while a rollout is under way.",
            kind="stat",
        ),
        Panel(
            "Last load", {"{{instance}}": gauge("interlock_config_last_reload_successful", "instance", "min")},
            "0: what was to be loaded was refused, and the one before is in force.",
            most=1,
        ),
        Panel(
            "Watched files", {"{{instance}} {{file}}": gauge("interlock_watched_file_healthy", "instance,file", "min")},
            "0: it was changed and refused, and the content before is in force. Nothing where none is watched.",
            most=1,
        ),
        Panel(
            "TLS certificate, time left",
            {"{{instance}}": f"{gauge('interlock_tls_certificate_expires_timestamp_seconds', 'instance', 'min')} - time()"},
            "Nothing without TLS.",
            unit="s", least=None,
        ),
        Panel(
            "In force since",
            {
                "{{instance}} loaded": f"time() - {gauge('interlock_config_last_reload_timestamp_seconds', 'instance')}",
                "{{instance}} started": f"time() - {gauge('process_start_time_seconds', 'instance')}",
            },
            "Replicas that differ much run different things. A start that nobody asked for is a crash.",
            unit="s",
        ),
        Panel(
            "What shadow policies would have said",
            {"{{policy}}: {{from}} to {{to}}": per_second("interlock_shadow_flips_total", "policy,from,to")},
            "WITHHOLD to RELEASE should be what you meant.",
            unit="ops",
        ),
        Panel(
            "Verdicts while a policy is tried",
            {"{{policy}}: {{result}}": per_second("interlock_rollout_decisions_total", "policy,result")},
            "How many the new one decided, and how.",
            unit="ops", stacked=True,
        ),
    ],
)  # fmt: skip

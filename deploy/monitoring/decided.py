"""Rows of the dashboard: what is decided, how sure it is, and what may be claimed of it."""

from panels import Panel, Row, counts, gauge, per_second, quantile, quantiles

VERDICTS = Row(
    "Verdicts",
    [
        Panel(
            "Verdicts by decision", {"{{decision}}": per_second("interlock_verdicts_total", "decision")},
            "All that is answered. A fall of RELEASE alone is the ensemble or an outage; the next panel says which.",
            unit="ops", stacked=True,
        ),
        Panel(
            "Withheld, by first reason",
            {"{{reason}}": per_second("interlock_verdicts_total", "reason", 'decision="WITHHOLD"') + " > 0"},
            "HARMFUL, DISAGREEMENT and UNCERTAIN are the ensemble at work; MEMBER_*, OVERLOADED and DEADLINE are outages.",
            unit="ops", stacked=True,
        ),
        Panel(
            "Withheld, by category", {"{{category}}": per_second("interlock_withheld_total", "category")},
            "A text that is withheld in two categories counts in both.",
            unit="ops", stacked=True,
        ),
        Panel(
            "Share withheld for a service reason", {"{{job}}": "interlock:conservative:ratio_rate5m{job=~\"$job\"}"},
            "Nothing was found in these texts, and they were withheld: the price of outages. Near zero.",
            unit="percentunit",
        ),
        Panel(
            "Error budget, how fast it burns",
            {
                "{{job}}, 5 min": 'interlock:unanswered:ratio_rate5m{job=~"$job"} / 0.001',
                "{{job}}, 1 h": 'interlock:unanswered:ratio_rate1h{job=~"$job"} / 0.001',
                "{{job}}, 6 h": 'interlock:unanswered:ratio_rate6h{job=~"$job"} / 0.001',
            },
            "At 1 the budget of 0.1 % lasts for exactly 30 days; at 14.4 for two. Below 1.",
        ),
        Panel(
            "RPCs by method and status",
            {"{{grpc_method}} {{grpc_code}}": per_second("grpc_server_handled_total", "grpc_method,grpc_code")},
            "A withheld text is OK. Cancelled is a caller who left; Internal is a fault of ours.",
            unit="ops", stacked=True,
        ),
        Panel(
            "RPCs begun", {"{{grpc_method}}": per_second("grpc_server_started_total", "grpc_method")},
            "More begun than ended for long: streams that stay open, or work that hangs.",
            unit="ops",
        ),
        Panel(
            "Verdicts on growing texts",
            {
                "{{decision}}": per_second("interlock_stream_parts_total", "decision"),
                "retracted after release": per_second("interlock_stream_retractions_total", "job"),
            },
            "Retractions are streams of which something was shown before they were withheld.",
            unit="ops",
        ),
        Panel(
            "Bytes shown of streams that were withheld", {"{{job}}": per_second("interlock_stream_retracted_bytes_total", "job")},
            "A rise is a change of traffic, or an attack on the hold-back.",
            unit="Bps",
        ),
        Panel(
            "Withheld, and let out by callers in observe mode",
            {"{{instance}}": per_second("interlock_enforcement_observed_total", "instance")},
            "Zero once enforcement has begun.",
            unit="ops",
        ),
    ],
)  # fmt: skip

DISSENT = Row(
    "Dissent and disagreement",
    [
        Panel(
            "Dissent by member", {"{{member}}": per_second("interlock_dissent_total", "member")},
            "A member was not clear while another was. One member alone: look at it, or at what it alone sees.",
            unit="ops",
        ),
        Panel(
            "Dissent by category", {"{{category}}": per_second("interlock_dissent_total", "category")},
            "Where members differ.",
            unit="ops",
        ),
        Panel(
            "Share of verdicts with dissent", {"{{member}}": 'interlock:dissent:ratio_rate10m{job=~"$job"}'},
            "What the alert on dissent compares with the day before.",
            unit="percentunit",
        ),
        Panel(
            "Disagreement", counts("interlock_disagreement"),
            "Spread of the members, in nats, text by text.",
            kind="heatmap", least=None,
        ),
        Panel(
            "Scores, p99 by member", {"{{member}}": quantile(0.99, "interlock_member_score", "member")},
            "A member whose scores move alone has changed, or its input has.",
            unit="percentunit", most=1,
        ),
        Panel(
            "Disguised texts, by how", {"{{view}}": per_second("interlock_text_views_total", "view")},
            "A rise of anything but `canonical` is somebody trying.",
            unit="ops",
        ),
    ],
)  # fmt: skip

MARGINS = Row(
    "Margins and drift",
    [
        Panel(
            "Margins", counts("interlock_margin"),
            "Distance to the nearest threshold, in nats; positive ones are released. Mass that gathers at zero is brittle.",
            kind="heatmap", least=None,
        ),
        Panel(
            "Margin, quantiles", quantiles("interlock_margin", (0.1, 0.5, 0.9)),
            "The tenth percentile falls before verdicts change.",
            least=None,
        ),
        Panel(
            "How ordinary texts are", quantiles("interlock_ood_pvalue", (0.01, 0.1, 0.5)),
            "p-values of the gate for the unknown: over attested traffic p50 is 0.5 and p1 0.01. Lower is stranger.",
            most=1,
        ),
        Panel(
            "Distance from what was attested, at least",
            {"{{statistic}}": gauge("interlock_drift_distance_lower_bound", "statistic")},
            "Above drift.limit the service latches.",
            most=1,
        ),
        Panel(
            "Compared, and latched",
            {
                "{{instance}} is compared": gauge("interlock_drift_armed", "instance"),
                "{{instance}} is latched": gauge("interlock_conservative_mode", "instance"),
            },
            "Compared 1, latched 0.",
            most=1,
        ),
        Panel(
            "Answers, by whether they were compared", {"{{result}}": per_second("interlock_drift_items_total", "result")},
            "No `counted` for long: too few callers, and drift cannot be seen.",
            unit="ops", stacked=True,
        ),
    ],
)  # fmt: skip

CERTIFICATE = Row(
    "Certificate",
    [
        Panel(
            "Holds, refuted",
            {
                "{{instance}} holds": gauge("interlock_certificate_valid", "instance", "min"),
                "{{instance}} is refuted": gauge("interlock_certificate_refuted", "instance"),
            },
            "Holds 1, refuted 0.",
            most=1,
        ),
        Panel(
            "Released of harmful texts, at most",
            {"{{category}}": gauge("interlock_certificate_miss_rate_upper_bound", "category")},
            "1 where nothing is certified.",
            unit="percentunit", most=1,
        ),
        Panel(
            "Time left, and age",
            {
                "{{instance}} left": f"{gauge('interlock_certificate_expires_timestamp_seconds', 'instance', 'min')} - time()",
                "{{instance}} age": gauge("interlock_certificate_age_seconds", "instance"),
            },
            "Below 14 days left: certify again.",
            unit="s", least=None,
        ),
    ],
)  # fmt: skip

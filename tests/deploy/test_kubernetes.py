"""The manifests: valid for Kubernetes, and true to the server that they run."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from interlock_server.transport.server import SERVICE

from .manifests import FLAVOURS, KUBERNETES, Document, Manifests, labelled, render, tool

OLDEST, NEWEST = "1.29", "1.37"


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: flavour[0] + "-secured" * flavour[1])
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return render(*request.param)


def invalid(path: Path, text: str, version: str) -> str:
    path.write_text(text)
    done = tool("kubernetes-validate", "--strict", "--quiet", "--no-warn", "-k", version, path)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_knows_every_field(manifests: Manifests, version: str, tmp_path: Path) -> None:
    """By the schemas of the API, in which no other field is allowed."""
    assert "" == invalid(tmp_path / "all.yaml", manifests.text, version)


def test_a_misspelt_field_would_be_seen(tmp_path: Path) -> None:
    """The check before this one can fail."""
    text = render("cpu").text.replace("maxUnavailable", "maxUnavailabel", 1)

    assert "maxUnavailabel" in invalid(tmp_path / "all.yaml", text, NEWEST)


def test_the_ports_are_those_that_the_server_listens_on(manifests: Manifests) -> None:
    """And on every address of the pod."""
    transport = manifests.config().transport
    ports = {port["name"]: port["containerPort"] for port in manifests.container["ports"]}

    assert {"grpc": transport.address, "metrics": transport.http_address} == {
        name: f"0.0.0.0:{port}" for name, port in ports.items()
    }


def test_it_starts_the_server_with_the_mounted_file(manifests: Manifests) -> None:
    """The file of the config map, where the command line looks for it."""
    *command, path = manifests.container["args"]
    (config_map,) = manifests.all("ConfigMap")
    (volume,) = (each for each in manifests.server["volumes"] if "configMap" in each)
    mounts = {mount["name"]: mount["mountPath"] for mount in manifests.container["volumeMounts"]}

    assert ["serve", "--config"] == command
    assert config_map["metadata"]["name"] == volume["configMap"]["name"]
    assert path in [f"{mounts[volume['name']]}/{name}" for name in config_map["data"]]


def test_a_drain_ends_before_the_pod_is_killed(manifests: Manifests) -> None:
    """What comes before SIGTERM, the drain, and the last replies."""
    (_, before_s) = manifests.container["lifecycle"]["preStop"]["exec"]["command"]
    drain_s = manifests.config().transport.drain_seconds

    assert manifests.server["terminationGracePeriodSeconds"] >= int(before_s) + drain_s + 5


def test_lanes_fit_the_cores_of_the_pod(manifests: Manifests) -> None:
    """One more than its limit, whatever the node has."""
    limits = manifests.container["resources"]["limits"]

    assert int(limits["cpu"]) + 1 == manifests.config().inference.lanes
    assert limits == manifests.container["resources"]["requests"]


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "triton"])
@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_for_the_health_of_the_service(overlay: str, probe: str) -> None:
    """Over gRPC, on its port and by its name."""
    container = render(overlay).container

    assert {"port": container["ports"][0]["containerPort"], "service": SERVICE} == container[probe]["grpc"]


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "triton"])
@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_with_tls_probes_ask_over_https(overlay: str, probe: str) -> None:
    """Kubernetes has no gRPC probe with TLS."""
    asked = render(overlay, secured=True).container[probe]

    assert "grpc" not in asked
    assert {"path": "/healthz", "port": "metrics", "scheme": "HTTPS"} == asked["httpGet"]


def test_it_is_open_to_the_network_only_as_said(manifests: Manifests) -> None:
    """Plain text without the component; with it TLS and known callers, from mounted secrets."""
    config = manifests.config()
    mounts = [mount["mountPath"] for mount in manifests.container["volumeMounts"]]

    assert (config.transport.tls is None) == config.transport.insecure == (config.access.file is None)
    if config.transport.tls is not None and config.access.file is not None:
        files = (config.transport.tls.certificate_file, config.transport.tls.key_file, config.access.file)
        assert all(str(Path(file).parent) in mounts for file in files)


def test_every_pod_is_restricted(manifests: Manifests) -> None:
    """As the pod security standard `restricted` wants it, and with a root that nobody can write."""
    for pod in manifests.pods:
        context = pod["spec"]["securityContext"]
        assert (True, "RuntimeDefault") == (context["runAsNonRoot"], context["seccompProfile"]["type"])
        assert not pod["spec"]["automountServiceAccountToken"]
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            assert {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            } == container["securityContext"]


def test_every_selector_finds_pods_and_their_ports(manifests: Manifests) -> None:
    """Services, disruption budgets, spread constraints and network policies."""
    pods = list(manifests.pods)
    for selector, ports in selected(manifests):
        found = [pod for pod in pods if labelled(selector, pod["metadata"]["labels"])]
        assert 1 == len(found), selector
        (container,) = found[0]["spec"]["containers"]
        assert ports <= {port["name"] for port in container["ports"]}


def selected(manifests: Manifests) -> list[tuple[dict[str, str], set[str]]]:
    """Selectors of pods, and the names of the ports that are wanted of them."""
    found = [(each["spec"]["selector"], targets(each)) for each in manifests.all("Service")]
    found += [(each["spec"]["selector"]["matchLabels"], set()) for each in manifests.all("PodDisruptionBudget")]
    for pod in manifests.pods:
        spreads = pod["spec"]["topologySpreadConstraints"]
        found += [(spread["labelSelector"]["matchLabels"], set()) for spread in spreads]
    for policy in manifests.all("NetworkPolicy"):
        if policy["spec"]["podSelector"]:
            rules = policy["spec"].get("ingress", [])
            ports = {port["port"] for rule in rules for port in rule["ports"]}
            found.append((policy["spec"]["podSelector"]["matchLabels"], ports))
    return found


def targets(service: Document) -> set[str]:
    return {port["targetPort"] for port in service["spec"]["ports"]}


def test_nothing_goes_in_or_out_unless_said(manifests: Manifests) -> None:
    """One policy takes every pod and allows nothing."""
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} == manifests.one("NetworkPolicy", "default-deny")[
        "spec"
    ]


def test_callers_need_their_label_and_that_of_their_namespace(manifests: Manifests) -> None:
    """Both in one entry: two entries would let in whoever has either."""
    ingress = manifests.one("NetworkPolicy", "interlock")["spec"]["ingress"]
    (callers,) = (rule["from"] for rule in ingress if rule["ports"][0]["port"] == "grpc")

    assert [{"namespaceSelector", "podSelector"}] == [set(source) for source in callers]


def test_clients_see_every_server(manifests: Manifests) -> None:
    """A headless service, for round_robin in the client; only servers that are ready are listed."""
    spec = manifests.one("Service", "interlock")["spec"]

    assert ("None", None) == (spec["clusterIP"], spec.get("publishNotReadyAddresses"))


def test_prometheus_finds_the_metrics_of_every_service(manifests: Manifests) -> None:
    """Each ServiceMonitor selects one service, by a port that it has; over HTTPS where there is TLS."""
    services = manifests.all("Service")
    for monitor in manifests.all("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        (service,) = (each for each in services if labelled(wanted, each["metadata"].get("labels", {})))
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    (endpoint,) = manifests.one("ServiceMonitor", "interlock")["spec"]["endpoints"]
    assert ("https" if manifests.config().transport.tls else "http") == endpoint["scheme"]


def test_scaling_follows_a_metric_that_the_adapter_makes(manifests: Manifests) -> None:
    """Of the deployment, whose replicas nobody else sets."""
    scaler = manifests.one("HorizontalPodAutoscaler", "interlock")["spec"]
    (rule,) = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    wanted = [metric["pods"]["metric"]["name"] for metric in scaler["metrics"] if metric["type"] == "Pods"]

    assert [rule["name"]["as"]] == wanted
    assert "replicas" not in manifests.one("Deployment", scaler["scaleTargetRef"]["name"])["spec"]


def test_a_disruption_leaves_servers(manifests: Manifests) -> None:
    """At least two of the least that there are."""
    least = manifests.one("HorizontalPodAutoscaler", "interlock")["spec"]["minReplicas"]

    assert least - manifests.one("PodDisruptionBudget", "interlock")["spec"]["maxUnavailable"] >= 2


def test_a_gpu_pod_has_a_gpu_and_a_place_for_engines() -> None:
    """The cache is a volume: the root cannot be written."""
    container: dict[str, Any] = render("gpu").container
    environment = {each["name"]: each["value"] for each in container["env"]}

    assert "1" == container["resources"]["limits"]["nvidia.com/gpu"]
    assert environment["XDG_CACHE_HOME"] in [mount["mountPath"] for mount in container["volumeMounts"]]

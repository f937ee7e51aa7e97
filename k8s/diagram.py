"""Diagram: an overlay as a picture, drawn from what was built and from nothing else.

    python -m k8s.diagram      # docs/images/k8s-OVERLAY.svg, all of them

Columns from the caller to the disk; an arrow is an address in the settings, a route, a mount, or a
scaler's target.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from k8s.checks.build import OVERLAYS, ROOT, build_overlay
from k8s.checks.cluster import Cluster, Pods, where
from k8s.checks.settings import Reader, Role, addresses, readers

_WIDTH, _GAP, _LINE, _PAD = 250, 80, 16, 10
_COLUMNS = ("callers", "doors", "what they ask", "what lasts")
_DATABASE = "vitrine-postgres"
_COLOURS = ("#fdf3dc", "#e3eefb", "#e6f4e6", "#f1e9f7")


@dataclass(slots=True)
class Box:
    """One thing, with its lines of text."""

    key: str
    column: int
    lines: list[str]
    x: int = 0
    y: int = 0

    @property
    def height(self) -> int:
        """In pixels."""
        return _LINE * len(self.lines) + 2 * _PAD


@dataclass(slots=True)
class Picture:
    """Boxes and arrows, not placed yet."""

    title: str
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, key: str, column: int, *lines: str) -> None:
        """A box; a second one of the same key is the same."""
        self.boxes.setdefault(key, Box(key, column, [line for line in lines if line]))

    def link(self, source: str, target: str, text: str = "") -> None:
        """An arrow, if both ends are drawn."""
        known = source in self.boxes and target in self.boxes
        if known and (source, target, text) not in self.arrows:
            self.arrows.append((source, target, text))


def diagram(cluster: Cluster) -> str:
    """SVG, the same for the same objects."""
    picture = Picture(f"{cluster.name}: {len(cluster.objects)} objects")
    _boxes(cluster, picture)
    _arrows(cluster, picture)
    return _drawn(picture)


def _boxes(cluster: Cluster, picture: Picture) -> None:
    picture.add("storefronts", 0, "storefronts", "gRPC with a deadline")
    if cluster.named("Deployment", "vitrine-console"):
        picture.add("people", 0, "merchandisers, operators", "a browser")
    for gateway in cluster.of("Gateway"):
        listener = gateway["spec"]["listeners"][0]
        name = f"Gateway {gateway['metadata']['name']}"
        routes = sorted(each["kind"] for each in cluster.of("GRPCRoute") + cluster.of("HTTPRoute"))
        picture.add(name, 0, name, f"{listener['protocol']} {listener['port']}", ", ".join(routes))
    if cluster.of("PodMonitor"):
        picture.add("prometheus", 0, "Prometheus", *_alert_lines(cluster))
    for pods in cluster.pods:
        kind, _, name = pods.owner.partition("/")
        is_door = kind == "RayService" or name == "vitrine-console"
        column = 1 if is_door else 3 if kind == "StatefulSet" else 2
        jobs = kind in ("CronJob", "Job")
        picture.add(pods.owner, 0 if jobs else column, f"{kind} {name}", *_pod_lines(cluster, pods))
    for service in cluster.services.values():
        if service.name == _DATABASE and service.is_external:
            picture.add(_DATABASE, 3, "the shop's own PostgreSQL", "by ExternalName")
        elif service.is_external:
            picture.add("shop", 2, "the shop's own systems", "by ExternalName")
    for claim in cluster.of("PersistentVolumeClaim"):
        spec = claim["spec"]
        size = spec["resources"]["requests"]["storage"]
        name = claim["metadata"]["name"]
        picture.add(
            f"claim {name}", 3, f"volume {name}", f"{size} {', '.join(spec['accessModes'])}"
        )
    for scaler in cluster.of("ScaledObject") + cluster.of("HorizontalPodAutoscaler"):
        spec = scaler["spec"]
        low = spec.get("minReplicaCount", spec.get("minReplicas"))
        high = spec.get("maxReplicaCount", spec.get("maxReplicas"))
        triggers = [trigger["name"] for trigger in spec.get("triggers", ())]
        picture.add(where(scaler), 0, scaler["kind"], f"{low} to {high} Tritons", *triggers)


def _alert_lines(cluster: Cluster) -> Iterator[str]:
    for rules in cluster.of("PrometheusRule"):
        count = sum(len(group["rules"]) for group in rules["spec"]["groups"])
        yield f"{count} alerts"


def _pod_lines(cluster: Cluster, pods: Pods) -> Iterator[str]:
    owner = next((each for each in cluster.objects if pods.of == where(each)), None)
    if pods.is_worker and owner is not None:
        group = owner["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
        low, high = group["minReplicas"], group["maxReplicas"]
        yield f"{low if low == high else f'{low} to {high}'} pods, one door each"
    elif pods.is_head:
        yield "controller, no door"
    elif owner is not None and "replicas" in owner["spec"]:
        yield f"{owner['spec']['replicas']} pod(s)"
    for container in pods.containers:
        limits = container.get("resources", {}).get("limits", {})
        gpus = [f"{count} × {name}" for name, count in limits.items() if "nvidia" in name]
        ports = ", ".join(str(each["containerPort"]) for each in container.get("ports", ())[:4])
        yield f"{container['name']}{f' :{ports}' if ports else ''}"
        yield from gpus


def _arrows(cluster: Cluster, picture: Picture) -> None:
    for route in cluster.of("GRPCRoute") + cluster.of("HTTPRoute"):
        gateway = f"Gateway {route['spec']['parentRefs'][0]['name']}"
        picture.link("storefronts" if route["kind"] == "GRPCRoute" else "people", gateway)
        for backend in route["spec"]["rules"][0]["backendRefs"]:
            for pods in _behind(cluster, backend["name"]):
                picture.link(
                    gateway, pods.owner, f"{backend['weight']}" if "weight" in backend else ""
                )
    if not cluster.of("Gateway"):
        picture.link("people", "Deployment/vitrine-console")
    for reader in readers(cluster):
        if reader.role is Role.DOOR and not cluster.of("Gateway"):
            picture.link("storefronts", reader.pods.owner)
        for address in _addresses(cluster, reader):
            host = address.partition(":")[0]
            service = cluster.services.get(host)
            if service is not None and service.is_external:
                picture.link(reader.pods.owner, host if host == _DATABASE else "shop")
            for target in _behind(cluster, host):
                picture.link(reader.pods.owner, target.owner)
    for pods in cluster.pods:
        for claim in _claims(pods):
            picture.link(pods.owner, f"claim {claim}")
        if pods.is_head:
            for target in _behind(cluster, "vitrine-redis"):
                picture.link(pods.owner, target.owner)
    for monitor in cluster.of("PodMonitor"):
        for pods in cluster.selected(monitor["spec"]["selector"]):
            picture.link("prometheus", pods.owner, "")
    for scaler in cluster.of("ScaledObject"):
        target = f"Deployment/{scaler['spec']['scaleTargetRef']['name']}"
        picture.link(where(scaler), target, "")


def _behind(cluster: Cluster, service: str) -> list[Pods]:
    found = cluster.services.get(service)
    return [] if found is None or not found.selector else cluster.selected(found.selector)


def _claims(pods: Pods) -> Iterator[str]:
    for volume in pods.volumes.values():
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]


def _addresses(cluster: Cluster, reader: Reader) -> Iterable[str]:
    return addresses(reader, reader.settings(cluster)).values()


def _drawn(picture: Picture) -> str:
    bottoms = [60] * len(_COLUMNS)
    for box in picture.boxes.values():
        box.x = 20 + box.column * (_WIDTH + _GAP)
        box.y = bottoms[box.column]
        bottoms[box.column] += box.height + 22
    width = 20 + len(_COLUMNS) * (_WIDTH + _GAP) - _GAP + 20
    height = max(bottoms)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(picture.title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#667"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for column, name in enumerate(_COLUMNS):
        x = 20 + column * (_WIDTH + _GAP)
        parts.append(f'<text x="{x}" y="40" font-size="15" fill="#445">{name}</text>')
    parts += [_arrow(picture, *arrow) for arrow in picture.arrows]
    for box in picture.boxes.values():
        parts.append(
            f'<rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{box.height}" rx="6"'
            f' fill="{_COLOURS[box.column]}" stroke="#889"/>'
        )
        for at, line in enumerate(box.lines):
            y = box.y + _PAD + 12 + at * _LINE
            weight = ' font-weight="bold"' if at == 0 else ""
            parts.append(f'<text x="{box.x + 10}" y="{y}"{weight}>{escape(_short(line))}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _short(line: str) -> str:
    return line if len(line) <= 33 else f"{line[:32]}…"


def _arrow(picture: Picture, source: str, target: str, text: str) -> str:
    one, other = picture.boxes[source], picture.boxes[target]
    x1, y1 = one.x + _WIDTH, one.y + one.height // 2
    x2, y2 = other.x, other.y + other.height // 2
    if one.column == other.column:  # round the left side
        x1 = x2 = one.x
        bend = f"C{x1 - 30} {y1} {x2 - 30} {y2} {x2} {y2}"
    else:
        bend = f"C{x1 + 45} {y1} {x2 - 45} {y2} {x2} {y2}"
    label = f'<text x="{x2 - 34}" y="{y2 - 6}" fill="#a33">{escape(text)} %</text>' if text else ""
    path = f'<path d="M{x1} {y1} {bend}" fill="none" stroke="#667" marker-end="url(#tip)"/>'
    return path + label


def main() -> int:
    """Writes all of them."""
    for name in OVERLAYS:
        file = ROOT / "docs" / "images" / f"k8s-{name}.svg"
        file.write_text(diagram(Cluster(build_overlay(name), name)))
        sys.stdout.write(f"{file.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The geo files in use while a worker runs: taken up as the manifest names them, held back, refused, and grown old.

A new set of files is tried on the live sessions before it is used. One that would change too many live verdicts at once
is held back, one that cannot be used changes nothing, and both are said. Anonymity data that come of age while they are
in use (charter C4, ruling 33) make the same files another build, with live sessions decided again by what they say now.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from streams.adapters.anonymity import COUNTING, REASONS
from streams.adapters.geo import Geo, GeoUnavailable
from streams.adapters.geomanifest import GeoRefused, ManifestSource
from streams.adapters.metrics import Metrics
from streams.agents.decider import Decider
from streams.agents.speaker import Speaker
from streams.agents.sweeps import Sweeper
from streams.core import instants, status

FEW_CHANGES: Final = 10
"""Changed live verdicts below which a new geo build is never held back: of few sessions, one is a large share."""

log = structlog.get_logger(__name__)


class Geography:
    """Keeps a decider's geo files.

    Args:
        geo: the files in use to begin with, reviewed.
        manifest: names the next ones; None: there are none.
        max_change: share of live verdicts, 0 to 1, that new files may change where the manifest does not say.
        decider: whose facts and provenance change.
        sweeper: tries files on live sessions, and decides them again.
        speaker: told of everything.
        worker: its id.
        clock: ms since the epoch.

    Attributes:
        geo: the files in use.
    """

    def __init__(
        self,
        geo: Geo,
        manifest: ManifestSource | None,
        *,
        max_change: float,
        decider: Decider,
        sweeper: Sweeper,
        speaker: Speaker,
        metrics: Metrics,
        worker: str,
        clock: Callable[[], int],
    ) -> None:
        self.geo = geo
        self._manifest = manifest
        self._max_change = max_change
        self._decider = decider
        self._sweeper = sweeper
        self._speaker = speaker
        self._metrics = metrics
        self._worker = worker
        self._clock = clock
        self._announce()

    async def look(self) -> None:
        """Call once a second while joins are decided: new files, files come of age."""
        if self._manifest is not None and self._manifest.changed():
            await self._take_up(self._manifest)
        if self.geo.review(self._clock()):
            self._use(self.geo)

    async def _take_up(self, manifest: ManifestSource) -> None:
        """Take up the files that the manifest names; what can't be used changes nothing."""
        try:
            geo = await asyncio.to_thread(manifest.open)
        except (GeoRefused, GeoUnavailable) as exc:
            log.error("geo files refused; the ones in use stay", reason=str(exc), in_use=self.geo.build)
            self._metrics.geo_refused.inc()
            self._speaker.notice(status.geo_refused(self._worker, str(exc), self.geo.build, _now()))
            return
        geo.review(self._clock())
        if geo.build == self.geo.build:
            geo.close()
            return
        limit = self._max_change if manifest.accept_change is None else manifest.accept_change
        provenance = msgspec.structs.replace(self._decider.provenance, geo_build=geo.build, geo_time=geo.time)
        changed, sessions = await self._sweeper.survey(Decider(self._decider.index, geo.facts, provenance))
        share = changed / sessions if sessions else 0.0
        held = share > limit and changed >= FEW_CHANGES
        self._metrics.geo_held.set(held)
        if held:
            self._hold(geo, changed=changed, sessions=sessions, share=share, limit=limit)
            return
        log.info("geo files taken up", build=geo.build, changes=changed, sessions=sessions)
        before, self.geo = self.geo, geo
        self._use(geo)
        before.close()

    def _hold(self, geo: Geo, *, changed: int, sessions: int, share: float, limit: float) -> None:
        log.error("geo files held back", build=geo.build, changed=changed, sessions=sessions, limit=limit)
        data = status.GeoHeldData(
            build=geo.build,
            in_use=self.geo.build,
            worker=self._worker,
            sessions=sessions,
            changed=changed,
            share=share,
            limit=limit,
        )
        self._speaker.notice(status.geo_held(data, _now()))
        geo.close()

    def _use(self, geo: Geo) -> None:
        self._decider.locate = geo.facts
        self._decider.provenance = msgspec.structs.replace(
            self._decider.provenance, geo_build=geo.build, geo_time=geo.time
        )
        self._announce()
        self._sweeper.relocated()

    def _announce(self) -> None:
        self._speaker.use(geo_event(self.geo, _now()))
        for reason in REASONS:
            self._metrics.anonymity_discounted.labels(reason).set(
                sum(file.verdict == reason for file in self.geo.files)
            )
        for file in self.geo.files:
            if file.anonymity and file.verdict not in COUNTING:
                log.warning(
                    "anonymity data do not count: service documents alert at most", file=file.name, reason=file.verdict
                )


def geo_event(geo: Geo, at: int) -> status.GeoEvent:
    """The event that announces the geo files in use, at an instant in ms."""
    files = [
        status.GeoFile(
            name=file.name,
            sha256=f"sha256:{file.sha256}",
            build=instants.render(file.epoch * 1000),
            anonymity=file.verdict,
        )
        for file in geo.files
    ]
    return status.geo_announced(geo.build, files, at)


def _now() -> int:
    return time.time_ns() // 1_000_000

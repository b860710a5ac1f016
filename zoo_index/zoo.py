"""The main job: pull a model by its name, keep it, and hand back a session."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Self, Unpack

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Misfit, NotFound, UsageError, ZooError
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.names import Ref, check_list, fold
from onnxzoo.registry.core.records import AddResult, Progress, Variant, VerifyReport
from onnxzoo.registry.core.text import redact_url
from onnxzoo.registry.licenses.policy import check_license
from onnxzoo.registry.resolve.choose import Constraints, wanted
from onnxzoo.registry.resolve.lookup import with_variant
from onnxzoo.registry.runtime.compatibility import installed, refusal
from onnxzoo.zoo_index.index.indexes import Indexes
from onnxzoo.zoo_index.pull.already_held import (
    check_name,
    find_held_name,
    find_held_plan,
    find_held_source,
)
from onnxzoo.zoo_index.pull.plan import (
    Plan,
    from_index,
    from_source,
    is_source,
    nearest_of,
    of_held,
    split_source,
)
from onnxzoo.zoo_index.pull.pull import fetch_and_publish, pull_lock, refetch
from onnxzoo.zoo_index.pull.test_data import refetch_test_data, require_test_data, try_test_data
from onnxzoo.zoo_index.sources.addresses import hub_repository, parse_address
from onnxzoo.zoo_index.sources.open import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxruntime import InferenceSession, SessionOptions

    from onnxzoo.registry.runtime.providers import Provider

_log = logger()
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class Zoo:
    """A registry together with the indexes that it can pull from.

    Args:
        registry: where models are kept; None for the one that the environment names.
        offline: never touch the network; None for what the environment says.
        allow_licenses: pull nothing under others, see `policy.permits`; None for what the
            environment says.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        offline: bool | None = None,
        allow_licenses: "Sequence[str] | None" = None,
    ) -> None:
        check_list(allow_licenses, "allow_licenses")
        self.registry = registry or Registry()
        self.settings = self.registry.settings
        if offline is not None:
            self.settings = replace(self.settings, offline=offline)
        if allow_licenses is not None:
            self.settings = replace(self.settings, allow_licenses=tuple(allow_licenses))
        self.indexes = Indexes.from_settings(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.registry.close()

    def plan(
        self,
        ref: str,
        *,
        name: str | None = None,
        sha256: str | None = None,
        **wish: Unpack[Constraints],
    ) -> Plan:
        """Return the plan of `pull`; for a name in an index without the network.

        Args:
            ref: a name, or a source: ``hf://org/repo[@revision][/file][:variant]``,
                ``https://…/model.onnx[#sha256=HEX]``, a page of the Hub, ``pkg://package/path``,
                a local path.
            name: what to call it here: ``NAME[:VARIANT]``.
            sha256: what the file of a source must hash to.
            wish: what else is asked of a name's variant; see `Constraints`.

        Raises:
            Refused: if its licence is not allowed.
        """
        ref, sha256 = self._meant(ref, sha256, wish)
        called = _called(name)
        if is_source(ref):
            text, variant = split_source(ref)
            plan = from_source(open_source(text, self.settings), variant, called, sha256)
            self._check_license(plan.name, plan.license)
            return plan
        asked = with_variant(ref, wish.get("variant"))
        plan = self._from_index(ref, asked, wish)
        self._check_license(f"{plan.name}:{plan.variant}", plan.license)
        if called is None:
            return plan
        return replace(plan, name=called.name, variant=called.variant or plan.variant)

    def preview(
        self,
        ref: str,
        *,
        name: str | None = None,
        sha256: str | None = None,
        upgrade: bool = False,
        **wish: Unpack[Constraints],
    ) -> tuple[Plan, Variant | None]:
        """Return the plan of `pull`, and the held part of it."""
        ref, sha256 = self._meant(ref, sha256, wish)
        held = None if upgrade else self._held(ref, name, sha256, wish)
        if held is not None:
            return of_held(held, wish.get("runtime")), held
        absent = self._absent(ref, name, wish)
        if absent is not None:
            return of_held(absent, wish.get("runtime")), None
        plan = self.plan(ref, name=name, sha256=sha256, **wish)
        held = find_held_plan(self.registry, plan)
        if held is None and name is None and plan.opened is not None:
            check_name(self.registry, plan)
        return plan, held

    def pull(
        self,
        ref: str,
        *,
        name: str | None = None,
        sha256: str | None = None,
        force: bool = False,
        upgrade: bool = False,
        progress: Progress | None = None,
        **wish: Unpack[Constraints],
    ) -> AddResult:
        """Fetch a model, verify it and keep it; a held one is left alone.

        Args:
            ref: see `plan`, as for name, sha256 and wish.
            name: what to call it here.
            sha256: what the file of a source must hash to.
            force: keep it although it does not run, or does not open here.
            upgrade: ask a source for something newer although one of its models is held.
            progress: told of each file's bytes.
            wish: what else is asked of it.

        Raises:
            Misfit: if what an index has does not run; nothing was fetched.
            Refused: if its licence is not allowed; nothing was fetched.
        """
        ref, sha256 = self._meant(ref, sha256, wish)
        held = None if upgrade else self._held(ref, name, sha256, wish)
        if held is not None:
            return AddResult(held, new=False)
        absent = self._absent(ref, name, wish)
        if absent is not None:
            for checked in self.registry.verify([absent.ref]):
                if checked.digest == absent.digest:
                    self.repair(checked, progress)
            return AddResult(absent, new=False, repaired=True)
        plan = self.plan(ref, name=name, sha256=sha256, **wish)
        held = find_held_plan(self.registry, plan)
        if held is not None:
            return AddResult(held, new=False)
        installed()  # raises NotFound before anything is fetched: what is pulled gets opened
        if name is None and plan.opened is not None:
            check_name(self.registry, plan)
        if not force:
            _check_fit(plan, ref)
        with pull_lock(plan, self.settings.downloads):
            held = find_held_plan(self.registry, plan)
            if held is not None:
                return AddResult(held, new=False)
            # What is for another release need not open here.
            must_open = not force and wish.get("runtime") is None
            return fetch_and_publish(
                self.registry, plan, self.settings, progress, must_open=must_open
            )

    def pull_test_data(self, variant: Variant, progress: Progress | None = None) -> bool:
        """Fetch a held variant's reference data that an index knows; see `try_test_data`."""
        return try_test_data(self.registry, self.indexes, variant, self.settings, progress)

    def need_test_data(self, variant: Variant, progress: Progress | None = None) -> None:
        """Fetch a held variant's own reference data if missing; see `require_test_data`."""
        require_test_data(self.registry, self.indexes, variant, self.settings, progress)

    def repair(self, checked: VerifyReport, progress: Progress | None = None) -> None:
        """Fetch the bytes of a damaged bundle again; see `refetch` and `refetch_test_data`."""
        ref = checked.refs[0]
        try:
            if Ref.parse(ref).variant is None:
                refetch_test_data(self.registry, self.indexes, checked, self.settings, progress)
            else:
                refetch(self.registry, checked, self.settings, progress)
        except NotFound as error:
            error.hint = error.hint or (
                f"zoo import a file that has `{ref}`, register it again from another place, or "
                f"zoo rm {ref}"
            )
            raise

    def resolve(self, ref: str, **wish: Unpack[Constraints]) -> Variant:
        """Return the held variant that a reference means; an index's other names count too."""
        try:
            return self.registry.resolve(ref, **wish)
        except NotFound as error:
            asked = with_variant(ref, wish.get("variant"))
            if self.registry.list(name=asked.name, limit=1):
                raise  # held, but not so: an index has nothing to say of it
            parsed = self._renamed(asked)
            missed = error
            if parsed is not None:
                wish["variant"] = None  # it is in the reference now
                try:
                    return self.registry.resolve(str(parsed), **wish)
                except NotFound as again:
                    missed = again
            name = (parsed or asked).name
            if asked.version is None and not self.registry.list(name=name, limit=1):
                if not self.indexes.find(name):
                    raise missed from None
                message = f"no model `{asked.name}` is held; an index has it"
                raise NotFound(message, hint=f"zoo pull {asked}") from error
            raise missed from None

    def obtain(
        self, ref: str, *, progress: Progress | None = None, **wish: Unpack[Constraints]
    ) -> Variant:
        """Return a held variant, pulled first if only an index has it.

        Raises:
            NotFound: if neither the registry nor an index has it.
        """
        try:
            return self.resolve(ref, **wish)
        except NotFound:
            asked = with_variant(ref, wish.get("variant"))
            if asked.version is not None and self.registry.list(name=asked.name, limit=1):
                raise
        return self.pull(ref, progress=progress, **wish).variant

    def load(
        self,
        variant: Variant,
        *,
        device: str = "auto",
        providers: "Sequence[Provider] | None" = None,
        session_options: "SessionOptions | None" = None,
    ) -> "InferenceSession":
        """Open a session on a held variant; see `onnxzoo.load`.

        Raises:
            Misfit: if it does not run on the installed onnxruntime; its hint is what to pull.
        """
        try:
            return self.registry.load(
                variant.ref, device=device, providers=providers, session_options=session_options
            )
        except Misfit as error:
            self.hint(error, variant.name)
            raise

    def hint(self, error: Misfit, name: str) -> None:
        """Add an alternative to an error without a hint, if an index has one that runs."""
        if error.hint is not None:
            return
        try:
            nearest = nearest_of(self.indexes.find(name), installed())
        except ZooError as failed:  # an index that fails does not hide why the model does not run
            _log.warning("%s", failed.message)
            return
        if nearest is not None:
            error.hint = f"zoo pull {nearest.name}:{nearest.variant}"

    def _held(
        self, ref: str, name: str | None, sha256: str | None, wish: Constraints
    ) -> Variant | None:
        """Return a reference's held variant, as far as possible without the network."""
        if is_source(ref):
            held = find_held_source(self.registry, self.settings, ref, _called(name), sha256)
        else:
            held = find_held_name(self.registry, self.indexes, ref, _called(name), wish)
        if held is not None:
            self._check_license(held.ref, held.license)
        return held

    def _absent(self, ref: str, name: str | None, wish: Constraints) -> Variant | None:
        """Return the held variant that a name means if it is not here and no index has it."""
        if name is not None or is_source(ref) or self.indexes.find(Ref.parse(ref).name):
            return None
        try:
            found = self.registry.resolve(ref, **wish)
        except NotFound:
            return None
        return found if self.registry.store.is_absent(found.digest) else None

    def _meant(self, ref: str, sha256: str | None, wish: Constraints) -> tuple[str, str | None]:
        """Return the source or name that a text means, and the hash that was asked for."""
        address = parse_address(ref, self.settings)
        sha256 = _checked(address.text, sha256, wish)
        if sha256 and address.sha256 and sha256 != address.sha256:
            raise UsageError(f"`#sha256={address.sha256}` differs from the SHA-256 `{sha256}`")
        return address.text, sha256 or _checked(address.text, address.sha256, wish)

    def _from_index(self, ref: str, asked: Ref, wish: Constraints) -> Plan:
        try:
            return from_index(self.indexes, asked, wish, self.registry.names)
        except NotFound as error:
            source = hub_repository(ref)
            if source and not self.indexes.find(asked.name):
                error.hint = f"if it is a repository on the Hub: zoo pull {source} --dry-run"
            raise

    def _check_license(self, what: str, license: str | None) -> None:  # noqa: A002
        check_license(what, license, self.settings.allow_licenses)

    def _renamed(self, ref: Ref) -> Ref | None:
        """Return a reference under the name that an index's other name stands for."""
        entries = self.indexes.find(ref.name)
        if not entries or fold(entries[0].name) == fold(ref.name):
            return None
        variant = entries[0].variant if len(entries) == 1 else None
        return Ref(entries[0].name, ref.variant or variant, ref.version)


def _check_fit(plan: Plan, ref: str) -> None:
    if plan.fit is None or not plan.fit.misfits:
        return
    fit = plan.fit
    called = f"{Ref.parse(ref).name}:{plan.variant}"
    error = refusal(called, fit.misfits, fit.runtime, fit.nearest)
    error.hint = (
        f"zoo pull {fit.nearest}"
        if fit.nearest
        else f"zoo pull {ref} --force keeps it all the same"
    )
    raise error


def _called(name: str | None) -> Ref | None:
    return Ref.parse(name) if name else None


def _checked(ref: str, sha256: str | None, wish: Constraints) -> str | None:
    """Return the requested hash in lower case; refuse contradicting options."""
    if is_source(ref) and (asked := wanted(wish) or wish.get("prefer")):
        raise UsageError(
            f"`{asked.strip()}` chooses among an index's variants; `{_shown(ref)}` is a source",
            hint="name the file, or the variant where the source has several",
        )
    if sha256 is None:
        return None
    if not is_source(ref):
        raise UsageError(
            f"a SHA-256 goes with a source; an index pins those of `{ref}` itself",
            hint=f"zoo pull {ref}",
        )
    if not _SHA256.fullmatch(sha256.strip()):
        raise UsageError(f"`{sha256}` is not a SHA-256; expected 64 hexadecimal digits")
    return sha256.strip().lower()


def _shown(ref: str) -> str:
    return redact_url(ref) if ref.lower().startswith(("http://", "https://")) else ref

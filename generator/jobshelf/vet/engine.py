"""Run the rules over scripts: which apply, in what order, what is suppressed, in how many processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobshelf.errors import printable
from jobshelf.script import Script, no_collector
from jobshelf.scripts.files import MOST_BYTES
from jobshelf.shelf import Shelf, find_shelf
from jobshelf.vet.config import Config, Profile
from jobshelf.vet.finding import Finding, Report, Undecided, finding_of
from jobshelf.vet.progress import Tell, tell_nobody
from jobshelf.vet.ruff import diagnose
from jobshelf.vet.rule import Audience, Hit, Inconclusive, Rule, Severity, Tier
from jobshelf.vet.rules import all_rules
from jobshelf.vet.subject import Subject, probe_script, resolve_script
from jobshelf.vet.suppression import Suppression, read_suppressions
from jobshelf.vet.targets import Target, load
from jobshelf.workers import cores, spread

if TYPE_CHECKING:
    from jobshelf.interface import Probe

SUPPRESSION = "UVS604"
SELF_CONTAINED = "UVS504"
_BATCH = {False: 64, True: 8}
_BATCH_ONLINE = 1  # uv takes seconds for a script
# Below these numbers of scripts a second process costs more than it saves (static tier, stub tier).
_WORTH_A_PROCESS = {False: 60, True: 2}

Results = tuple[list[Finding], list[Undecided]]


def vet_targets(targets: Sequence[Target], config: Config, *, tell: Tell = tell_nobody) -> Report:
    """Vet every target and return the report, sorted by path, line and code; `tell` hears how far it is.

    Raises InputError for a file that cannot be read and EnvironmentFault when ruff does not run.
    """
    batches = _cut(targets, config)
    if len(batches) == 1 and Tier.STUB in config.tiers() and not config.select:
        from jobshelf.interface import start_early

        start_early()  # a third of a short run is spent on loading the rules
    all_rules()  # looked up before the processes are forked
    results = spread(partial(_vet_batch, config=config), batches)
    return _report(_told(results, batches, tell), targets, config)


def _told(results: Iterable[Results], batches: Sequence[Sequence[Target]], tell: Tell) -> Iterator[Results]:
    done, total = 0, sum(map(len, batches))
    for result, batch in zip(results, batches, strict=True):
        done += len(batch)
        tell("scripts checked", done, total)
        yield result


@no_collector()
def vet_scripts(
    scripts: Sequence[Script],
    config: Config,
    *,
    shelf: Shelf | None = None,
    probe_with: Callable[[Script], Probe] = probe_script,
) -> Report:
    """Vet scripts that are parsed already, in this process, as scripts of `shelf` (default: the one around the working folder).

    `probe_with` runs a script with its imports stubbed; a caller that wants to see the runs itself gives its own.
    """
    targets = [Target(path=script.path) for script in scripts]
    return _report([_vet_parsed(scripts, config, shelf or _shelf(), probe_with)], targets, config)


def _report(results: Iterable[Results], targets: Sequence[Target], config: Config) -> Report:
    findings: list[Finding] = []
    undecided: list[Undecided] = []
    for some, others in results:
        findings += some
        undecided += others
    if config.profile is Profile.STRICT:
        findings = [finding for finding in findings if finding.severity is not Severity.HINT]
    return Report(
        profile=config.profile,
        paths=tuple(target.path for target in targets),
        findings=tuple(sorted(findings, key=_place)),
        inconclusive=tuple(sorted(undecided)),
    )


def _place(finding: Finding) -> tuple[str, int, int, str, str]:
    return finding.path, finding.line, finding.column, finding.code, finding.message


def _cut(targets: Sequence[Target], config: Config) -> list[Sequence[Target]]:
    slow = config.tiers() != {Tier.STATIC}
    workers = cores() if len(targets) >= _WORTH_A_PROCESS[slow] else 1
    most = _BATCH_ONLINE if config.online else _BATCH[slow]
    size = max(1, min(most, -(-len(targets) // workers)))
    return [targets[start : start + size] for start in range(0, len(targets), size)]


@no_collector()
def _vet_batch(targets: Sequence[Target], *, config: Config) -> Results:
    return _vet_parsed(
        [load(target) for target in targets], config, _shelf(), partial(probe_script, unfenced=config.unfenced)
    )


def _vet_parsed(
    scripts: Sequence[Script], config: Config, shelf: Shelf, probe_with: Callable[[Script], Probe]
) -> Results:
    rules = all_rules()
    chosen = [config.chosen(rules.values(), script.path) for script in scripts]
    suppressed = [read_suppressions(script) for script in scripts]
    asked = [(*group, *_named(named, group, rules)) for group, named in zip(chosen, suppressed, strict=True)]
    wanted = {code for group in asked for made in group for code in _ruff_codes(made, rules)}
    readable = [script for script in scripts if len(script.data) <= MOST_BYTES and not script.too_complex]
    ruff = diagnose(readable, wanted) if wanted else {}
    findings: list[Finding] = []
    undecided: list[Undecided] = []
    for script, group, named in zip(scripts, chosen, suppressed, strict=True):
        subject = Subject(
            script=script,
            shelf=shelf,
            candidate=config.profile is Profile.NEW or is_candidate(script, shelf),
            ruff=ruff.get(script.path, ()),
            suppressions=named,
            unfenced=config.unfenced,
            stub=config.stub,
            probe_with=probe_with,
            resolve_with=partial(resolve_script, builds=config.builds),
        )
        some, others = _vet_one(subject, group, config)
        findings += some
        undecided += others
    return findings, undecided


def _named(suppressions: Iterable[Suppression], chosen: Iterable[Rule], rules: dict[str, Rule]) -> list[Rule]:
    """Return the rules that suppressions name, where it is judged whether these are needed."""
    judged = any(made.code == SUPPRESSION for made in chosen)
    return [rules[one.code] for one in suppressions if one.code in rules] if judged else []


def _ruff_codes(made: Rule, rules: dict[str, Rule]) -> set[str]:
    return set(made.ruff).union(*(_ruff_codes(rules[code], rules) for code in made.requires))


def _vet_one(subject: Subject, chosen: list[Rule], config: Config) -> Results:
    if len(subject.script.data) > MOST_BYTES:
        return _vet_oversized(subject.script, chosen)
    if not config.select:
        subject = replace(subject, audiences=_audiences(subject, config.profile))
        chosen = [made for made in chosen if made.audience in subject.audiences]
    return _judge(subject, chosen, config.tiers())


def _vet_oversized(script: Script, chosen: list[Rule]) -> Results:
    """Only the rule about size can say something about a file that is too large to be parsed."""
    results = Answers(Subject(script=script), all_rules())
    findings = [finding for made in chosen if made.code == SELF_CONTAINED for finding in results.findings(made)]
    reason = f"larger than {MOST_BYTES // 1024} KiB: not parsed, no other rule was applied"
    rule = all_rules()[SELF_CONTAINED]
    return findings, [Undecided(path=script.path, code=rule.code, name=rule.name, reason=reason)]


def _judge(subject: Subject, chosen: list[Rule], tiers: frozenset[Tier]) -> Results:
    answers = Answers(subject, all_rules())
    findings: list[Finding] = []
    undecided: list[Undecided] = []
    for made in chosen:
        if made.code == SUPPRESSION:
            continue
        undecided += answers.undecided(made)
        findings += [
            one for one in answers.findings(made) if made.security or not _is_covered(one, subject.suppressions)
        ]
    if subject.suppressions and any(made.code == SUPPRESSION for made in chosen):
        unused = _unused(subject.suppressions, answers, tiers)
        if unused and not (subject.candidate and subject.audiences == frozenset(Audience)):
            # one that is needed with --strict or --new is needed
            widest = replace(subject, candidate=True, audiences=frozenset(Audience), probe_with=lambda _: subject.probe)
            unused = _unused(unused, Answers(widest, all_rules()), tiers)
        informed = replace(subject, unused=unused)
        findings += Answers(informed, all_rules()).findings(all_rules()[SUPPRESSION])
    return findings, undecided


def _is_covered(finding: Finding, suppressions: Iterable[Suppression]) -> bool:
    return any(one.covers(finding.code, finding.line, finding.end_line) for one in suppressions)


def _unused(suppressions: Iterable[Suppression], answers: Answers, tiers: frozenset[Tier]) -> tuple[Suppression, ...]:
    """Return the suppressions whose rule looked at the script and found nothing that they cover."""
    rules = all_rules()
    judged = [(one, rules[one.code]) for one in suppressions if one.code in rules]
    return tuple(
        one
        for one, made in judged
        if made.tier in tiers
        and made.code != SUPPRESSION
        and answers.decided(made)
        and not any(_is_covered(finding, [one]) for finding in answers.findings(made))
    )


class Answers:
    """What each rule says about one subject; a rule is asked once, and after the rules that it requires."""

    def __init__(self, subject: Subject, rules: dict[str, Rule]) -> None:
        self._subject = subject
        self._rules = rules
        self._given: dict[str, list[Hit | Inconclusive]] = {}

    def findings(self, made: Rule) -> list[Finding]:
        """Return the rule's findings; none when a rule that it requires found an error."""
        return [finding_of(made, self._subject.script.path, hit) for hit in self._ask(made) if isinstance(hit, Hit)]

    def undecided(self, made: Rule) -> list[Undecided]:
        """Return why the rule could not decide; empty when it could."""
        path = self._subject.script.path
        return [
            Undecided(path=path, code=made.code, name=made.name, reason=printable(answer.reason))
            for answer in self._ask(made)
            if isinstance(answer, Inconclusive)
        ]

    def decided(self, made: Rule) -> bool:
        """Tell whether the rule looked at the script and came to a decision."""
        return self._applies(made) and not self.undecided(made)

    def _ask(self, made: Rule) -> list[Hit | Inconclusive]:
        if made.code not in self._given:
            self._given[made.code] = self._checked(made) if self._applies(made) else []
        return self._given[made.code]

    def _checked(self, made: Rule) -> list[Hit | Inconclusive]:
        try:
            return list(made.check(self._subject))
        except RecursionError:
            return [Inconclusive(reason="the code is nested too deeply for this rule to read")]

    def _applies(self, made: Rule) -> bool:
        if made.catalogue and not self._subject.candidate:
            return False
        return not any(self._failed(self._rules[code]) for code in made.requires)

    def _failed(self, made: Rule) -> bool:
        hits = [answer for answer in self._ask(made) if isinstance(answer, Hit)]
        return any((hit.severity or made.severity) is Severity.ERROR for hit in hits)


def _audiences(subject: Subject, profile: Profile) -> frozenset[Audience]:
    if subject.candidate or profile is not Profile.DEFAULT:
        return frozenset(Audience)
    hub = {Audience.HUB} if subject.uses_hub else set()
    command = {Audience.COMMAND} if subject.parses_arguments else set()
    return frozenset({Audience.DEFECTS} | hub | command)


def is_candidate(script: Script, shelf: Shelf) -> bool:
    """Tell whether a script is on the shelf, or carries the table of one."""
    if script.header is not None and "jobshelf" in script.header.table.get("tool", {}):
        return True
    return Path(script.path).absolute().parent == shelf.catalog


@cache
def _shelf() -> Shelf:
    return find_shelf()

"""`tach check CONFIG`: prints the plan that a configuration makes."""

from __future__ import annotations

from tach.notifiers.amqp_url import masked
from tach.plan import Plan


def show(plan: Plan) -> None:
    """Print what would be measured and where it would go."""
    print(f"{plan.file}: {len(plan.targets)} targets, every {plan.interval:g} s")
    for notifier in plan.notifiers:
        options = " ".join(f"{name}={_shown(value)}" for name, value in notifier.options.items())
        print(f"notifier {notifier.name}: {notifier.type} {options}".rstrip())
    for target in plan.targets:
        name = f"{plan.prefix}.{target.name}" if plan.prefix else target.name
        print(f"target {name}: {target.function}")
        print(f"    {', '.join(target.metrics)} -> {', '.join(target.notifiers) or 'nowhere'}")


def _shown(value: object) -> object:
    """An option's value, without the password if it is a URL that has one."""
    if isinstance(value, list):
        return ",".join(str(_shown(each)) for each in value)
    return masked(value) if isinstance(value, str) and "://" in value else value

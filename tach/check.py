"""`tach check CONFIG`: prints the plan that a configuration makes."""

from __future__ import annotations

from tach.plan import Plan


def show(plan: Plan) -> None:
    """Print what would be measured and where it would go."""
    print(f"{plan.file}: {len(plan.targets)} targets, every {plan.interval:g} s")
    for notifier in plan.notifiers:
        options = " ".join(f"{name}={value}" for name, value in notifier.options.items())
        print(f"notifier {notifier.name}: {notifier.type} {options}".rstrip())
    for target in plan.targets:
        name = f"{plan.prefix}.{target.name}" if plan.prefix else target.name
        print(f"target {name}: {target.function}")
        print(f"    {', '.join(target.metrics)} -> {', '.join(target.notifiers) or 'nowhere'}")

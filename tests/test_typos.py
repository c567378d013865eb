"""A typo in a target: one line that lets one mend it without reading the docs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

MODULE = """\
class OutOfStock(Exception):
    pass

class Basket:
    def place(self, context, item):
        return item

    def remove(self, item):
        return item

def checkout(basket, *, fast=False):
    return basket

def lines():
    yield 1

def _hidden():
    pass
"""
HELPER = """\
def name_of(*args, **kwargs):
    return "x"
"""


class Typo(NamedTuple):
    """A target with a mistake in it: its status, and what is said, the file and line left out."""

    target: str
    status: int
    said: str


# the field with the mistake -> what is said of it
TYPOS = {
    "name: a placeholder": Typo(
        '"n.{arg.basket}": shop.orders:checkout',
        2,
        "targets.n.{arg.basket}: malformed placeholder {arg.basket}; did you mean '{args.basket}'?",
    ),
    "name: a placeholder's parameter": Typo(
        '"n.{args.baskt.id}": shop.orders:checkout',
        1,
        "targets.n.{args.baskt.id}: no parameter 'baskt' in checkout(basket, *, fast=False); "
        "did you mean 'basket'?",
    ),
    "name: a brace": Typo(
        '"n.{args.basket": shop.orders:checkout',
        2,
        "targets.n.{args.basket: unbalanced braces in 'n.{args.basket'; "
        "write placeholders as {args.method}",
    ),
    "name: a dot": Typo(
        "n..x: shop.orders:checkout",
        2,
        "targets.n..x: the name 'n..x' has an empty component; "
        "remove a dot, or put a name beside it",
    ),
    "function: the key": Typo(
        "a: {functoin: 'shop.orders:checkout'}",
        2,
        "targets.a: unknown key 'functoin'; did you mean 'function'?",
    ),
    "function: the package": Typo(
        "a: shpo.orders:checkout", 1, "targets.a: no module 'shpo'; did you mean 'shop'?"
    ),
    "function: the module": Typo(
        "a: shop.ordres:checkout",
        1,
        "targets.a: no module 'shop.ordres'; did you mean 'shop.orders'?",
    ),
    "function: nothing like it": Typo(
        "a: tangerine:checkout",
        1,
        "targets.a: no module 'tangerine' where the program looks for modules; "
        "is it installed there?",
    ),
    "function: the class": Typo(
        "a: shop.orders:Baskt.place",
        1,
        "targets.a: no 'Baskt' in module shop.orders; did you mean 'Basket'?",
    ),
    "function: the method": Typo(
        "a: shop.orders:Basket.plcae",
        1,
        "targets.a: no 'plcae' in class Basket; did you mean 'place'?",
    ),
    "function: no class": Typo(
        "a: shop.orders:place",
        1,
        "targets.a: no 'place' in module shop.orders; did you mean 'Basket.place'?",
    ),
    "function: a class alone": Typo(
        "a: shop.orders:Basket",
        1,
        "targets.a: it is a class; name a method of it, such as Basket.__init__",
    ),
    "function: no colon": Typo(
        "a: shop.orders.Basket.place",
        2,
        "targets.a: malformed function 'shop.orders.Basket.place'; "
        "did you mean 'shop.orders:Basket.place'?",
    ),
    "function: the colon": Typo(
        "a: shop.orders.Basket:place",
        1,
        "targets.a: no module 'shop.orders.Basket': 'shop.orders' is a module, not a package; "
        "did you mean 'shop.orders:Basket.place'?",
    ),
    "function: a wildcard": Typo(
        "a: shop.orders:chek*",
        1,
        "targets.a: no 'chek*' among the functions of module shop.orders; did you mean 'checkout'?",
    ),
    "function: the package of a wildcard": Typo(
        "a: shpo.*:*", 1, "targets.a: no module 'shpo'; did you mean 'shop'?"
    ),
    "function: a wildcard of modules": Typo(
        "a: shop.ord*s.x*:checkout",
        1,
        "targets.a: there is no function that 'shop.ord*s.x*:checkout' means",
    ),
    "metrics": Typo(
        "a: {function: 'shop.orders:checkout', metrics: [timing, cuont]}",
        2,
        "targets.a: unknown metric 'cuont'; did you mean 'count'?",
    ),
    "metrics: a class": Typo(
        "a: {function: 'shop.orders:checkout', metrics: ['shop.orders:Baskte']}",
        1,
        "targets.a.metrics: no 'Baskte' in module shop.orders; did you mean 'Basket'?",
    ),
    "notifiers": Typo(
        "a: {function: 'shop.orders:checkout', notifiers: [buss]}",
        2,
        "targets.a: unknown notifier 'buss'; did you mean 'bus'?",
    ),
    "ignore": Typo(
        "a: {function: 'shop.orders:checkout', ignore: [KeyErorr]}",
        2,
        "targets.a.ignore: 'KeyErorr' is no built-in exception, others are package.module:Class; "
        "did you mean 'KeyError'?",
    ),
    "ignore: a class": Typo(
        "a: {function: 'shop.orders:checkout', ignore: ['shop.orders:OutOfStok']}",
        1,
        "targets.a.ignore: no 'OutOfStok' in module shop.orders; did you mean 'OutOfStock'?",
    ),
    "event": Typo(
        "a: {function: 'shop.orders:checkout', metrics: events, event: 'order placed'}",
        2,
        "targets.a.event: malformed event type 'order placed'; write it as order_placed",
    ),
    "event: no events": Typo(
        "a: {function: 'shop.orders:checkout', event: order.placed}",
        2,
        "targets.a: 'event' is about events, and there are none; add events to its metrics",
    ),
    "payload": Typo(
        "a: {function: 'shop.orders:checkout', metrics: events, payload: {x: agrs.basket.id}}",
        2,
        "targets.a.payload.x: malformed path 'agrs.basket.id'; did you mean 'args.basket.id'?",
    ),
    "payload: a parameter": Typo(
        "a: {function: 'shop.orders:Basket.place', metrics: events, payload: {x: args.contxt.id}}",
        1,
        "targets.a.payload.x: no parameter 'contxt' in Basket.place(self, context, item); "
        "did you mean 'context'?",
    ),
    "tenant": Typo(
        "a: {function: 'shop.orders:checkout', metrics: events, tenant: reslt.project}",
        2,
        "targets.a.tenant: malformed path 'reslt.project'; did you mean 'result.project'?",
    ),
    "tenant: of whom": Typo(
        "a: {function: 'shop.orders:checkout', metrics: events, tenant: self.project}",
        1,
        "targets.a.tenant: checkout has no self; write args.NAME",
    ),
    "period": Typo(
        "a: {function: 'shop.orders:checkout', metrics: [events, usage], period: daly}",
        2,
        "targets.a.period: unknown period 'daly'; did you mean 'day'?",
    ),
    "exclude": Typo(
        "a: {function: 'shop.orders:*', exclude: [chekout]}",
        0,
        "targets.a.exclude: warning: 'chekout' excludes nothing; did you mean 'checkout'?",
    ),
    "exclude: from one": Typo(
        "a: {function: 'shop.orders:checkout', exclude: [checkout]}",
        2,
        "targets.a: 'exclude' subtracts from a wildcard, and there is none; remove it",
    ),
    "helper: the file": Typo(
        "a: {function: 'shop.orders:checkout', helper: './helpr.py:name_of'}",
        2,
        "targets.a.helper: cannot read {place}/helpr.py: No such file or directory; "
        "did you mean 'helper.py'?",
    ),
    "helper: its function": Typo(
        "a: {function: 'shop.orders:checkout', helper: './helper.py:nameof'}",
        2,
        "targets.a.helper: no 'nameof' in {place}/helper.py; did you mean 'name_of'?",
    ),
    "helper: no function": Typo(
        "a: {function: 'shop.orders:checkout', helper: ./helper.py}",
        2,
        "targets.a.helper: malformed helper './helper.py'; "
        "say which function of it, as in ./file.py:function or module:function",
    ),
    "helper: the module": Typo(
        "a: {function: 'shop.orders:checkout', helper: 'hepler:name_of'}",
        1,
        "targets.a.helper: no module 'hepler'; did you mean 'helper'?",
    ),
    "helper: a module's function": Typo(
        "a: {function: 'shop.orders:checkout', helper: 'helper:nameof'}",
        1,
        "targets.a.helper: no 'nameof' in module helper; did you mean 'name_of'?",
    ),
    "after": Typo(
        "a: {function: 'shop.orders:checkout', after: helper.name_of}",
        2,
        "targets.a.after: malformed helper 'helper.name_of'; did you mean 'helper:name_of'?",
    ),
    "after: its function": Typo(
        "a: {function: 'shop.orders:checkout', after: 'helper:nameof'}",
        1,
        "targets.a.after: no 'nameof' in module helper; did you mean 'name_of'?",
    ),
    "after: the key": Typo(
        "a: {function: 'shop.orders:checkout', aftr: 'helper:name_of'}",
        2,
        "targets.a: unknown key 'aftr'; did you mean 'after'?",
    ),
    "max_series": Typo(
        "a: {function: 'shop.orders:checkout', helper: 'helper:name_of', max_series: 1k}",
        2,
        "targets.a.max_series: expected a whole number from 1 to 100000, got '1k'",
    ),
    "max_series: of what": Typo(
        "a: {function: 'shop.orders:checkout', max_series: 10}",
        2,
        "targets.a: 'max_series' limits names made of calls, and there are none; remove it",
    ),
    "increment": Typo(
        "a: {function: 'shop.orders:checkout', increment: 1O}",
        2,
        "targets.a.increment: expected a number, got '1O'",
    ),
    "value": Typo(
        "a: {function: 'shop.orders:checkout', value: resul.size}",
        2,
        "targets.a.value: malformed path 'resul.size'; did you mean 'result.size'?",
    ),
    "value: of a length": Typo(
        "a: {function: 'shop.orders:checkout', value: len(reslt.rows)}",
        2,
        "targets.a.value: malformed value 'len(reslt.rows)'; did you mean 'len(result.rows)'?",
    ),
    "value: its length": Typo(
        "a: {function: 'shop.orders:checkout', value: length(result)}",
        2,
        "targets.a.value: malformed value 'length(result)'; did you mean 'len(result)'?",
    ),
    "value: a parameter": Typo(
        "a: {function: 'shop.orders:checkout', value: len(args.baskets)}",
        1,
        "targets.a.value: no parameter 'baskets' in checkout(basket, *, fast=False); "
        "did you mean 'basket'?",
    ),
    "value.of": Typo(
        "a: {function: 'shop.orders:checkout', value: {off: result, as: gauge}}",
        2,
        "targets.a.value: unknown key 'off'; did you mean 'of'?",
    ),
    "value.as": Typo(
        "a: {function: 'shop.orders:checkout', value: {of: result, as: guage}}",
        2,
        "targets.a.value.as: unknown kind 'guage'; did you mean 'gauge'?",
    ),
    "outermost": Typo(
        "a: {function: 'shop.orders:checkout', outermost: ture}",
        2,
        "targets.a.outermost: expected true or false, got 'ture'",
    ),
    "outermost: of a generator": Typo(
        "a: {function: 'shop.orders:lines', outermost: true}",
        1,
        "targets.a: outermost is not for generators, which pause in between",
    ),
    "rebind": Typo(
        "a: {function: 'shop.orders:checkout', rebind: yse}",
        2,
        "targets.a.rebind: expected true or false, got 'yse'",
    ),
    "enabled": Typo(
        "a: {function: 'shop.orders:checkout', enabled: flase}",
        2,
        "targets.a.enabled: expected true or false, got 'flase'",
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a program and what it imports."""
    directory = tmp_path_factory.mktemp("typos")
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").touch()
    (directory / "shop" / "orders.py").write_text(MODULE)
    (directory / "helper.py").write_text(HELPER)
    (directory / "service.py").write_text("raise SystemExit('it is not to be run')\n")
    return directory


@pytest.mark.parametrize("case", TYPOS)
def test_one_line_says_what_is_wrong_and_what_would_be_right(case: str, place: Path) -> None:
    """`tach check` says it with file and line, the wrong word and the nearest right one."""
    target, status, said = TYPOS[case]
    name = f"{os.getpid()}.yaml"
    (place / name).write_text(f"notifiers: {{bus: {{type: log}}}}\ntargets:\n  {target}\n")

    checked = subprocess.run(
        [sys.executable, "-m", "tach", "check", name, "service.py"],
        cwd=place,
        capture_output=True,
        text=True,
    )

    lines = (checked.stderr + checked.stdout).splitlines()
    expected = f"{name}:3: {said.replace('{place}', str(place))}"
    assert [line for line in lines if line.startswith(f"{name}:3: ")] == [expected]
    assert checked.returncode == status
    assert "Traceback" not in checked.stderr

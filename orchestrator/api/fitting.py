"""Inputs are held against their task's schema before the transaction that launches: that takes long, and this locks."""

import asyncio
from dataclasses import replace

from orchestrator.api.context import ApiContext
from orchestrator.service import launching, orders
from orchestrator.service.orders import CheckedLaunch
from orchestrator.service.tokens import Caller


async def fitted(context: ApiContext, caller: Caller, checked: CheckedLaunch) -> CheckedLaunch:
    """The launch, and whether its input fits; what is wrong with it is said by the launch, as everything else is."""
    found = await context.database.read(orders.present_version, context.definitions, caller, checked)
    if found is None:
        return checked
    return replace(checked, fit=await asyncio.to_thread(launching.fit, *found, checked.input))

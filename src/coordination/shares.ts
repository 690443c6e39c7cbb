import type { AccountLimit, Caller, CallerLimits, LineEntry, Meter } from './coordinator.ts'

export function limitsShare<Limits extends CallerLimits>(limits: Limits, nodes: number): Limits {
  return { ...limits, userSlots: shareOf(limits.userSlots, nodes), keySlots: shareOf(limits.keySlots, nodes) }
}

export function callerShare(caller: Caller, nodes: number): Caller {
  return { ...limitsShare(caller, nodes), waitingMax: shareOf(caller.waitingMax, nodes), meters: metersShare(caller.meters ?? [], nodes) }
}

export function accountShare(account: AccountLimit, nodes: number): AccountLimit {
  return { ...account, slots: shareOf(account.slots, nodes), meters: metersShare(account.meters ?? [], nodes) }
}

export function entryShare(entry: LineEntry, nodes: number): LineEntry {
  const { only } = entry
  return {
    ...entry,
    accounts: entry.accounts.map(account => accountShare(account, nodes)),
    waitingMax: shareOf(entry.waitingMax, nodes),
    ...(only && { only: { ...only, waitingMax: shareOf(only.waitingMax, nodes) } }),
  }
}

export function metersShare(meters: readonly Meter[], nodes: number): Meter[] {
  return meters.map(meter => ({ ...meter, perMinute: shareOf(meter.perMinute, nodes) }))
}

/** What one of so many gateways may take of a limit when they cannot ask each other. 0 or less is no limit, for none of them. */
function shareOf(limit: number, nodes: number): number {
  return limit <= 0 ? limit : Math.max(1, Math.floor(limit / nodes))
}

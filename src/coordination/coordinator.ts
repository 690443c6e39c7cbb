import type { Soon } from '../lib/soon.ts'

/**
 * What several gateways agree on while calls are in flight: slots, lines, rates, sessions and conditions.
 * None of it outlives the calls: losing it loses no money. Where one process alone decides, it says at once what it need not wait for.
 */
export interface Coordinator {
  /**
   * Takes the user's slot and the key's together, or stands in the user's line for them. Its meters are spent at once, also by who
   * has to wait: a call that is over its rate need not wait to be told so. Whoever leaves the line has spent nothing.
   * Fails with the faults `line_full` and `rate_exceeded`; whoever waits, with the reason of the signal as soon as it is aborted.
   */
  enter(caller: Caller, waiter: Waiter): Soon<Slot>

  /** Whoever of this user's waits does so under these limits from now on: a line whose limit was raised moves at once. */
  renew(limits: CallerLimits): Promise<void>

  /** Takes a slot of this account and from its meters now, or neither. Undefined when no slot is free. */
  take(account: AccountLimit): Soon<Slot | OverRate | undefined>

  /**
   * Stands in the pool's line until one of the accounts has a free slot and is not resting. The next free slot goes to
   * the next user in turn, to that user's oldest eligible entry, and is taken together with what the entry asks of its meters. Rejects with `line_full`, or with the
   * reason of the signal.
   */
  wait(entry: LineEntry, waiter: Waiter): Promise<Turn>

  /** In the order asked. An account nobody has used yet has the calm condition. */
  conditions(accountIds: readonly string[]): Promise<readonly Condition[]>

  /** What this process knows of the accounts' conditions without asking; `conditions` brings it up to date. Another object when all of it changed. */
  known(): Known

  /** Replaces an account's condition by what `change` makes of it; may run `change` again if another node was quicker. */
  change(accountId: string, change: (condition: Condition) => Condition): Soon<Condition>

  /** The account a session is bound to; renews the binding. */
  session(key: string, ttlMs: number): Soon<string | undefined>
  bindSession(key: string, accountId: string, ttlMs: number): Soon<void>

  /** Takes from every meter, or from none and says so. Buckets refill evenly over a minute. */
  spend(meters: readonly Meter[]): Soon<OverRate | undefined>

  /** Corrects a meter afterwards, without a limit: gives back with a negative amount, takes what was used beyond. */
  correct(meters: readonly Meter[]): Soon<void>

  /** Tells the other gateways that the directory has changed. Whoever does not hear of it learns it from the books, a little later. */
  announce(): Promise<void>

  /** Calls `changed` when a gateway has announced, this one too, until disposed of. */
  onAnnounced(changed: () => void): Disposable
}

/**
 * Who may have to wait, and what ends that. The signal is asked for only then: to make one and to watch what it hangs on costs more than to
 * take a slot that is free.
 */
export interface Waiter {
  readonly signal: AbortSignal
}

/** What is known here of how accounts fare: looked up without waiting, and followed without looking at all of it again. */
export interface Known {
  of(accountId: string): Condition
  readonly changes: number
  /** The accounts whose condition changed after so many changes, some more than once; undefined when that is too long ago to tell. */
  changedSince(changes: number): readonly string[] | undefined
  /** There is no other process that could know more. */
  readonly isAll: boolean
}

/** What an operator and the tests want to see of the lines: this process's part of them. */
export interface LinesNow {
  readonly callersRunning: number
  readonly callersWaiting: number
  readonly accountsTaken: number
  readonly accountsWaiting: number
}

export interface CallerLimits {
  readonly userId: string
  readonly keyId: string
  /** 0 or less is no limit. */
  readonly userSlots: number
  readonly keySlots: number
}

export interface Caller extends CallerLimits {
  readonly waitingMax: number
  /** Of the user and the key; their owner is the user. */
  readonly meters?: readonly Meter[]
}

export interface AccountLimit {
  readonly accountId: string
  /** 0 or less is no limit. */
  readonly slots: number
  /** Of the account; their owner is `pools`. */
  readonly meters?: readonly Meter[]
}

export interface LineEntry {
  readonly pool: string
  readonly userId: string
  /** Those it may use. */
  readonly accounts: readonly AccountLimit[]
  readonly waitingMax: number
  /** At most this many may wait for one account by a binding (a sticky session). */
  readonly only?: { readonly name: string; readonly waitingMax: number }
}

/** Requests or tokens in a minute, named `user:…`, `key:…` or `account:…`. */
export interface Meter {
  readonly name: string
  /** `user:…`, or `pools` for accounts. What is taken together has one owner: it is kept in one place. */
  readonly owner: string
  readonly perMinute: number
  readonly amount: number
}

/** A meter that has no room, the fullest of those asked for, and when it has. Nothing was taken. */
export interface OverRate {
  readonly name: string
  readonly retryAfterMs: number
}

export function isOverRate<Other extends object>(taken: Other | OverRate | undefined): taken is OverRate {
  return taken !== undefined && 'retryAfterMs' in taken
}

/** Whose turn came in a pool's line: a slot of that account, or word that its rates have no room for this call. */
export type Turn = { readonly accountId: string } & ({ readonly slot: Slot } | { readonly over: OverRate })

/** A right to run, given back when disposed of. Giving back twice gives back once. */
export interface Slot extends AsyncDisposable {
  readonly name: string
  [Symbol.asyncDispose](): Promise<void>
}

/** How an account fares now. Times are milliseconds since 1970. */
export interface Condition {
  readonly taken: number
  readonly lastUsedMs: number
  /** Nobody chooses it before then. */
  readonly restingUntilMs: number
  /** When the newest rest began: what was sent before says nothing about it. */
  readonly restingSinceMs: number
  readonly restingWhy: string | null
  /** Out until an operator says so or a probe succeeds: its quota is used up. */
  readonly outSinceMs: number | null
  /** Its credential was refused: the operator should look. */
  readonly flagged: boolean
  /** In a row, for the growing rests and the circuit. */
  readonly failures: number
  readonly authFailures: number
  readonly overloads: number
  /** The circuit is open since then; one probe at a time may pass from `probeAtMs` on. */
  readonly circuitSinceMs: number | null
  readonly probeAtMs: number
  readonly probing: boolean
  /** Exponential averages over recent attempts; 1 is all well. */
  readonly successRate: number
  readonly recentAttempts: number
  readonly firstEventMs: number | null
  /** Upstream model name → resting until. */
  readonly modelRests: Readonly<Record<string, number>>
}

export const calm: Condition = {
  taken: 0,
  lastUsedMs: 0,
  restingUntilMs: 0,
  restingSinceMs: 0,
  restingWhy: null,
  outSinceMs: null,
  flagged: false,
  failures: 0,
  authFailures: 0,
  overloads: 0,
  circuitSinceMs: null,
  probeAtMs: 0,
  probing: false,
  successRate: 1,
  recentAttempts: 0,
  firstEventMs: null,
  modelRests: {},
}

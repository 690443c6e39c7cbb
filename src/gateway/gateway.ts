import type { BlockList } from 'node:net'
import type { Coordinator } from '../coordination/coordinator.ts'
import type { Owners } from '../directory/owners.ts'
import type { Directory } from '../directory/snapshot.ts'
import type { AtHand } from '../ledger/at-hand.ts'
import type { HoldLimits } from '../ledger/hold.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Purses } from '../ledger/purses.ts'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Roster } from '../lib/roster.ts'
import type { TokenCounter } from '../protocols/count-in-worker.ts'
import type { CallReader } from '../protocols/read-in-worker.ts'
import type { Attempt, AttemptSettings } from '../upstreams/attempt.ts'
import type { Egress } from '../upstreams/egress.ts'
import type { RestSettings } from '../upstreams/rest.ts'
import type { OwnUsage } from '../usage/own.ts'
import type { PendingCalls } from '../usage/pending.ts'
import type { Recorder } from '../usage/refusals.ts'
import type { AtOnce } from './at-once.ts'
import type { Background } from './background.ts'
import type { BodyBudget, BodySettings } from './body.ts'
import type { Books, CallEnd } from './books.ts'
import type { Brake } from './brake.ts'
import type { ClientSettings } from './client.ts'
import type { Drain } from './drain.ts'

/** The parts that a call passes through, assembled once, in main.ts. */
export interface Gateway {
  readonly settings: GatewaySettings
  readonly clock: Clock
  /** A number from 0 to below 1. */
  readonly chance: () => number
  readonly directory: Directory
  readonly owners: Owners
  readonly coordinator: Coordinator
  readonly ledger: Ledger
  /** Undefined where several share the books. */
  readonly atHand: AtHand<CallEnd> | undefined
  readonly purses: Purses
  readonly books: Books
  readonly recorder: Recorder
  readonly ownUsage: OwnUsage
  /** Calls whose responses go on upstream. */
  readonly pending: PendingCalls
  readonly egress: Egress
  readonly bodies: BodyBudget
  readonly brake: Brake
  readonly reader: CallReader
  readonly counter: TokenCounter
  readonly drain: Drain
  readonly background: Background
  /** Requests about what upstreams keep. */
  readonly keptAtOnce: AtOnce
  /** Attempts that are not over. */
  readonly live: Roster<Attempt>
  readonly metrics: Metrics
  readonly log: Log
  readonly trustedProxies: BlockList | undefined
  /** The holds of this process live by this lease. */
  readonly leaseId: string
  /** Aborted, with the fault `stopping`, when those in line are to be sent away. */
  readonly closing: AbortSignal
}

/** Milliseconds, bytes and counts, as config.ts names them. */
export interface GatewaySettings extends BodySettings, ClientSettings, AttemptSettings, RestSettings, HoldLimits {
  readonly socketsPerUserMax: number
  readonly socketAgeMaxMs: number
  readonly socketPingMs: number
  readonly socketCallsMax: number
  readonly socketLanesMax: number
  /** What is held of an answer for a slow reader, beyond one event. */
  readonly readerBufferBytes: number
  readonly lineTimeoutMs: number
  /** How many may wait beyond the user's concurrency. */
  readonly lineExtra: number
  readonly poolWaitingMax: number
  readonly stickyWaitMs: number
  readonly stickyWaiting: number
  readonly sessionTtlMs: number
  /** After so long unused, half of an account's bad record is forgotten. */
  readonly recordHalfLifeMs: number
  readonly switchesMax: number
  readonly sameAccountWaitMaxMs: number
  /** How long an upstream may take to tell of what it keeps. */
  readonly keptTimeoutMs: number
  /** Blank is none. */
  readonly defaultInstructions: string
  readonly settleWithinMs: number
  readonly booksTimeoutMs: number
}

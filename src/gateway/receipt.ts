import type { Principal } from '../directory/snapshot.ts'
import type { Usage } from '../ledger/price.ts'
import type { Clock } from '../lib/clock.ts'
import type { CallFacts } from '../protocols/protocol.ts'
import { type AttemptRow, type CallRow, noUsage, type UncollectedWhy } from '../usage/record.ts'
import type { Client } from './client.ts'

/** How the amount on a receipt is known. */
export type Basis = CallRow['basis']

/** What is known of a call so far: filled in as it goes through the rooms, written to the books once, at its end. */
export interface Receipt {
  readonly id: string
  readonly path: string
  readonly address: string
  readonly userAgent: string | null
  readonly beganAtMs: number
  /** In the clock's elapsed milliseconds. */
  readonly startedMs: number
  principal: Principal | undefined
  facts: CallFacts | undefined
  groupId: string | null
  accountId: string | null
  servedModel: string | null
  tier: string | null
  priceId: string | null
  usage: Usage
  held: bigint
  cost: bigint
  /** Why it may be more than what could be taken; whether it is, the books know. */
  uncollectedWhy: UncollectedWhy | null
  basis: Basis
  readonly attempts: AttemptRow[]
  lineMs: number
  firstTokenMs: number | null
  instructionsAdded: boolean
  outputLoweredTo: number | null
  /** What the upstream could not read, and was then sent without. */
  repaired: string | null
  upstreamRequestId: string | null
  /** Its row is written with its charge, by whoever ends the call: nobody else may write one. */
  isBooked: boolean
  /** Its row says `pending`: the response goes on upstream, and whoever sees its end settles it. */
  isPending: boolean
}

/** Of what a client says, such as the name of a model, the books keep so many characters. */
export const keptCharsMax = 200

export function newReceipt(client: Client, path: string, clock: Clock): Receipt {
  return {
    id: client.id,
    path: path.slice(0, keptCharsMax),
    address: client.address,
    userAgent: client.header('user-agent')?.slice(0, keptCharsMax) ?? null,
    beganAtMs: clock.nowMs(),
    startedMs: clock.elapsedMs(),
    principal: undefined,
    facts: undefined,
    groupId: null,
    accountId: null,
    servedModel: null,
    tier: null,
    priceId: null,
    usage: noUsage,
    held: 0n,
    cost: 0n,
    uncollectedWhy: null,
    basis: 'none',
    attempts: [],
    lineMs: 0,
    firstTokenMs: null,
    instructionsAdded: false,
    outputLoweredTo: null,
    repaired: null,
    upstreamRequestId: null,
    isBooked: false,
    isPending: false,
  }
}

/** How it ended, as the row says it. */
export interface Ending {
  readonly status: number
  readonly ended: CallRow['ended']
  readonly fault: string | null
}

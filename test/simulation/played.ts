import { AsyncLocalStorage } from 'node:async_hooks'
import type { Key, User } from '../../src/directory/entities.ts'
import type { HeardResponse } from './heard.ts'
import type { Sent } from './upstreams.ts'

/** One call of a run: what was asked, and what became of it, as those outside of the gateway see it. */
export interface Played {
  /** "call-7": its id, too. */
  readonly name: string
  readonly user: User
  readonly key: Key
  /** As its client names it. */
  readonly session: string | undefined
  readonly stream: boolean
  /** The account that has the response which it refers to. */
  readonly boundTo: string | undefined
  readonly refersTo: string | undefined
  /** What it refers to is another user's. */
  readonly isForeign: boolean
  readonly beganMs: number
  readonly response: HeardResponse
  hasLeft: boolean
  /** Since when it has had its user's slot. */
  slotSinceMs: number | undefined
  /** Its attempts, as their upstreams saw them. */
  readonly sent: Sent[]
}

/** Whose call it is that asks the coordinator or an upstream for something. */
export const playing = new AsyncLocalStorage<Played>()

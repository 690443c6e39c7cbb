import type { Timer } from '../lib/clock.ts'
import type { Attempt, Beginning } from '../upstreams/attempt.ts'
import { beside } from './beside.ts'
import type { Chooser, Chosen } from './choose.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { unlessLeft } from './leaving.ts'

/** What an attempt came to: its beginning, undefined when the client left first, and who is to be asked instead. */
export interface Begun {
  readonly beginning: Beginning | undefined
  /** Its slot is taken. The attempt was ended for it, with the fault `slow_first_event`. */
  readonly next: Chosen | undefined
}

/** How long a slow attempt is waited for before anybody else is looked for, and whom else. */
export interface Elsewhere {
  readonly chooser: Chooser
  readonly limitMs: number
}

/**
 * Waits until the attempt begins or fails, or the client leaves. After every `limitMs` without a first event it looks whether
 * another account can take the call at once; only with that account's slot in hand is the slow attempt ended. While nobody else
 * can, it is waited for as if there were no limit.
 */
export async function beginningOrElsewhere(
  attempt: Attempt,
  { chooser, limitMs }: Elsewhere,
  { client, gateway }: { readonly client: Client; readonly gateway: Pick<Gateway, 'clock' | 'log'> },
): Promise<Begun> {
  let next: Chosen | undefined
  let timer: Timer = gateway.clock.after(limitMs, look)

  async function look(): Promise<void> {
    const found = await beside('looking for a faster account', gateway.log, () => chooser.elsewhere(limitMs))
    const isOver = attempt.hasBegun || client.hasLeft
    if (found !== undefined && isOver) return chooser.giveBack(found)
    if (isOver) return
    if (found === undefined) {
      timer = gateway.clock.after(limitMs, look)
      return
    }
    next = found
    attempt.abort('slow_first_event')
  }

  try {
    const beginning = await unlessLeft(attempt.beginning, client.leaving)
    return { beginning, next }
  } finally {
    timer[Symbol.dispose]()
  }
}

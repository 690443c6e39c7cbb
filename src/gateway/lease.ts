import { expireRoundMax } from '../ledger/ledger.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import type { Gateway } from './gateway.ts'

export interface LeaseSettings {
  readonly leaseMs: number
  readonly leaseRenewMs: number
}

export interface LeaseHolder {
  /** How this gateway fares, as JSON, for those who share its books. */
  readonly about: () => string
  /** Nobody else can have these books: whoever had them before is dead, and there is nobody to wait for. */
  readonly isAlone: boolean
}

/** A gateway that is silent for so much of a lease counts as dead: the rest of it is for others to notice, and to free what it had. */
const silenceShare = 0.8

/**
 * Keeps the holds of this process alive by one row, and ends those of processes that died. What is owed from before is taken
 * first; after an outage of the books nothing expires for one whole lease, so that journals and renewals come before. Who starts
 * cannot know whether there was one, and waits as long. With each beat it takes over the responses for which the dead were asking.
 */
export async function keepLease(
  { background, books, clock, ledger, leaseId, log }: Pick<Gateway, 'background' | 'books' | 'clock' | 'ledger' | 'leaseId' | 'log'>,
  { leaseMs, leaseRenewMs }: LeaseSettings,
  { about, isAlone }: LeaseHolder,
): Promise<AsyncDisposable> {
  let timer: Timer | undefined
  let beating: Promise<void> = Promise.resolve()
  let isOver = false
  let renewedMs = clock.elapsedMs()
  let graceUntilMs = isAlone ? renewedMs : renewedMs + leaseMs
  let wereAway = false

  async function beat(): Promise<void> {
    try {
      const setBefore = settingOf(clock)
      await ledger.renewLease(leaseId, leaseMs * silenceShare, about())
      const nowMs = clock.elapsedMs()
      // An outage, or we were asleep: journals and others' renewals come first, for one whole lease from now.
      if (wereAway || nowMs - renewedMs > leaseMs) graceUntilMs = nowMs + leaseMs
      wereAway = false
      renewedMs = nowMs
      // Where the clock was set meanwhile, what was renewed may be over by what it says now; the next beat renews it first.
      const isSet = Math.abs(settingOf(clock) - setBefore) > leaseMs * (1 - silenceShare)
      if (nowMs >= graceUntilMs && !isSet) await bury(ledger)
    } catch (error) {
      wereAway = true
      log.warn({ err: error }, 'the lease could not be renewed: the books are away')
      return
    }
    await takeOver(background, log)
  }

  function again(): void {
    if (isOver) return
    timer = clock.after(leaseRenewMs, () => {
      beating = beat().then(again)
    })
  }

  await books.catchUp()
  if (isAlone) await ledger.endOtherLeases(leaseId)
  await beat()
  again()
  return {
    async [Symbol.asyncDispose]() {
      isOver = true
      timer?.[Symbol.dispose]()
      await beating
      // Else it runs out by itself.
      await ledger.endLease(leaseId).catch((error: unknown) => log.warn({ err: error }, 'the lease could not be ended: the books are away'))
    },
  }
}

/** Stays the same, but for milliseconds, until somebody sets the clock. */
function settingOf(clock: Clock): number {
  return clock.nowMs() - clock.elapsedMs()
}

/** Apart from the lease: a response of which nobody can make sense must not keep the holds of the dead from ending. */
async function takeOver(background: Gateway['background'], log: Gateway['log']): Promise<void> {
  try {
    await background.takeOver()
  } catch (error) {
    log.error({ err: error }, 'responses in the background could not be taken over; it is tried again')
  }
}

async function bury(ledger: Gateway['ledger']): Promise<void> {
  while ((await ledger.expireHolds()) >= expireRoundMax) {
    // There may be more: a crowded gateway died.
  }
}

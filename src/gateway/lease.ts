import { expireRoundMax } from '../ledger/ledger.ts'
import type { Timer } from '../lib/clock.ts'
import type { Gateway } from './gateway.ts'

export interface LeaseSettings {
  readonly leaseMs: number
  readonly leaseRenewMs: number
}

/**
 * Keeps the holds of this process alive by one row, and ends those of processes that died. What is owed from before is taken
 * first; after an outage of the books nothing expires for one whole lease, so that journals and renewals come before.
 */
export async function keepLease(
  { books, clock, ledger, leaseId, log }: Pick<Gateway, 'books' | 'clock' | 'ledger' | 'leaseId' | 'log'>,
  { leaseMs, leaseRenewMs }: LeaseSettings,
): Promise<AsyncDisposable> {
  let timer: Timer | undefined
  let beating: Promise<void> = Promise.resolve()
  let isOver = false
  let graceUntilMs = 0
  let renewedMs = clock.elapsedMs()
  let wereAway = false

  async function beat(): Promise<void> {
    try {
      await ledger.renewLease(leaseId, leaseMs)
      // An outage, or we were asleep: journals and others' renewals come first, for one whole lease from now.
      if (wereAway || clock.elapsedMs() - renewedMs > leaseMs) graceUntilMs = clock.nowMs() + leaseMs
      wereAway = false
      renewedMs = clock.elapsedMs()
      while ((await ledger.expireHolds({ graceUntilMs })) >= expireRoundMax) {
        // There may be more: a crowded gateway died.
      }
    } catch (error) {
      wereAway = true
      log.warn({ err: error }, 'the lease could not be renewed: the books are away')
    }
  }

  function again(): void {
    if (isOver) return
    timer = clock.after(leaseRenewMs, () => {
      beating = beat().then(again)
    })
  }

  await books.catchUp()
  await beat()
  again()
  return {
    async [Symbol.asyncDispose]() {
      isOver = true
      timer?.[Symbol.dispose]()
      await beating
    },
  }
}

import type { Condition } from '../../src/coordination/coordinator.ts'
import type { GatewaySettings } from '../../src/gateway/gateway.ts'
import type { VirtualClock } from './clock.ts'
import type { SimulatedDirectory } from './directory.ts'
import type { Played } from './played.ts'
import type { Sent } from './upstreams.ts'

export interface LawsParts {
  readonly clock: VirtualClock
  readonly directory: SimulatedDirectory
  readonly settings: GatewaySettings
  /** As it was last changed; how many slots of it are taken stands apart. */
  readonly conditionOf: (accountId: string) => Condition
  readonly takenOf: (accountId: string) => number
  readonly broke: (law: string) => void
}

/** What no attempt may ever do, judged by what the upstreams see. */
export class AttemptLaws {
  readonly #parts: LawsParts
  readonly #open = new Set<Sent>()
  /** Attempts that were sent to an account that was out, to see whether it still is. */
  readonly #probes = new Set<Sent>()

  constructor(parts: LawsParts) {
    this.#parts = parts
  }

  /** As it is about to be sent. */
  sent(sent: Sent): void {
    const { played, accountId } = sent
    const { settings, broke } = this.#parts
    const before = played.sent.slice(0, -1).map(one => one.accountId)
    if (played.sent.length > settings.switchesMax + 1) broke(`${played.name} makes attempt ${played.sent.length}`)
    if (before.includes(accountId)) this.#repeated(sent, before)
    if (played.hasLeft) broke(`${played.name} is sent to ${accountId}, and its client has left`)
    if (played.boundTo !== undefined && played.boundTo !== accountId)
      broke(`${played.name} belongs to ${played.boundTo} and is sent to ${accountId}`)
    if (this.#isOut(accountId)) this.#probed(sent)
  }

  arrived(sent: Sent): void {
    const { directory, broke } = this.#parts
    this.#open.add(sent)
    for (const one of this.#open) if (!one.isOpen) this.#open.delete(one)
    const { concurrency } = directory.snapshot().accounts.get(sent.accountId)!
    const running = [...this.#open].filter(one => one.accountId === sent.accountId).length
    if (concurrency > 0 && running > concurrency) broke(`${sent.accountId} runs ${running} calls, and may run ${concurrency}`)
  }

  /** Only what the upstream did wrong may make its account look worse. */
  changed(accountId: string, played: Played | undefined, { was, is }: { readonly was: Condition; readonly is: Condition }): void {
    if (!isWorse(was, is)) return
    const nowMs = this.#parts.clock.elapsedMs()
    const isItsFault = played?.sent.some(sent => sent.accountId === accountId && this.#isFault(sent, nowMs)) ?? false
    if (!isItsFault) this.#parts.broke(`${played?.name} counts against ${accountId}, which did nothing wrong`)
  }

  get running(): number {
    return [...this.#open].filter(({ isOpen }) => isOpen).length
  }

  #repeated({ played, accountId }: Sent, before: readonly string[]): void {
    const { broke } = this.#parts
    if (before.at(-1) !== accountId) broke(`${played.name} comes back to ${accountId} after ${before.join(', ')}`)
    if (new Set(before).size < before.length) broke(`${played.name} repeats an account twice: ${before.join(', ')}, ${accountId}`)
  }

  #isOut(accountId: string): boolean {
    const { circuitSinceMs, outSinceMs } = this.#parts.conditionOf(accountId)
    return circuitSinceMs !== null || outSinceMs !== null
  }

  /** When all that a call may use are out the least bad one is tried anyway, and so is the last one of a call once more: no probes. */
  #probed(sent: Sent): void {
    const { accountId, played } = sent
    if (played.sent.at(-2)?.accountId === accountId || this.#isAllOut(sent)) return
    const other = [...this.#probes].find(probe => probe.accountId === accountId && isUnderWay(probe))
    if (other !== undefined) this.#parts.broke(`${played.name} probes ${accountId} while ${other.played.name} does`)
    this.#probes.add(sent)
  }

  #isAllOut({ accountId, played }: Sent): boolean {
    const { directory } = this.#parts
    if (played.boundTo !== undefined) return true
    const { groupIds } = directory.snapshot().accounts.get(accountId)!
    return groupIds.some(groupId =>
      directory
        .snapshot()
        .accountsOf(groupId)
        .every(({ id, disabled }) => disabled || this.#isOut(id)),
    )
  }

  #isFault({ isFault, begunMs, sentMs, lastMs, played }: Sent, nowMs: number): boolean {
    const { firstEventTimeoutMs, jsonHeadersTimeoutMs, betweenBytesTimeoutMs } = this.#parts.settings
    if (isFault) return true
    if (nowMs - lastMs >= betweenBytesTimeoutMs) return true
    return begunMs === undefined && nowMs - sentMs >= (played.stream ? firstEventTimeoutMs : jsonHeadersTimeoutMs)
  }
}

/** One whose client left before it had arrived never will: its upstream does not hear of that. */
function isUnderWay({ isOpen, isOver, played }: Sent): boolean {
  return isOpen || !(isOver || played.hasLeft)
}

function isWorse(was: Condition, is: Condition): boolean {
  return (
    is.failures > was.failures ||
    is.authFailures > was.authFailures ||
    is.overloads > was.overloads ||
    is.successRate < was.successRate ||
    is.restingUntilMs > was.restingUntilMs ||
    (is.outSinceMs !== null && was.outSinceMs === null) ||
    (is.circuitSinceMs !== null && was.circuitSinceMs === null) ||
    Object.keys(is.modelRests).length > Object.keys(was.modelRests).length
  )
}

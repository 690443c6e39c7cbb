import type { Clock } from '../lib/clock.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Wire } from './wire.ts'

export interface IntakeParts {
  /** 0 is any number. */
  readonly callsInHandMax: number
  readonly clock: Clock
  readonly metrics: Pick<Metrics, 'intakeSeconds' | 'unauthenticated'>
  /** Calls that are begun, and neither stand in a line nor are with an upstream. */
  readonly inHand: () => number
  /** How long, of all the time so far, this thread had nothing to do. Milliseconds. */
  readonly idleMs: () => number
}

/** Begins a call; resolves when it is over, and never rejects. */
type Begin = () => Promise<void>

/** How often those who wait are looked after when nobody's end does so. */
const lookEveryMs = 10
/** What is let in then, of what may be in hand. */
const letInShare = 1 / 4
/** A thread that had nothing to do for so much of its time is not what calls wait for. */
const idleShare = 1 / 2

/**
 * Holds back what comes while as many calls are in hand as may be. A refusal costs half of a served call, and where the core is the bound
 * those who are refused take it from those who could be served. So what comes then is not answered at all for a moment: it waits as it came,
 * its body unread, and costs nothing but room. Each key has its turn, so that a loud one waits for itself.
 *
 * Nothing hangs on a call's end. When calls wait for something else than this thread, such as the books, some are let in all the same.
 */
export class Intake {
  readonly #parts: IntakeParts
  /** Who waits, by key; the key whose turn it is first. */
  readonly #turns = new Map<string, Set<() => void>>()
  #waiting = 0
  #isLooking = false
  #hasEnded = false
  #idleMs = 0

  constructor(parts: IntakeParts) {
    this.#parts = parts
  }

  /** Calls that are not begun yet. */
  get waiting(): number {
    return this.#waiting
  }

  /** Whether a call may begin now. Not before those who wait. */
  get hasRoom(): boolean {
    return this.#waiting === 0 && this.#mayBegin
  }

  get #mayBegin(): boolean {
    const { callsInHandMax, inHand } = this.#parts
    return callsInHandMax === 0 || inHand() < callsInHandMax
  }

  /** Begins the call when its turn has come; resolves when it is over, or its client is gone. `whose` is told apart, and nothing more. */
  wait(whose: string, wire: Pick<Wire, 'onOver' | 'offOver'>, begin: Begin): Promise<void> {
    const { clock, metrics } = this.#parts
    const cameMs = clock.elapsedMs()
    return new Promise(resolve => {
      const turn = () => {
        wire.offOver(left)
        metrics.intakeSeconds.observe((clock.elapsedMs() - cameMs) / 1000)
        begin().then(resolve)
      }
      const left = () => {
        this.#forget(whose, turn)
        metrics.unauthenticated.inc({ fault: 'client_left' })
        resolve()
      }
      wire.onOver(left)
      const line = this.#turns.get(whose)
      if (line === undefined) this.#turns.set(whose, new Set([turn]))
      else line.add(turn)
      this.#waiting += 1
      this.#lookLater()
    })
  }

  /** A call is over: there may be room. */
  ended(): void {
    this.#hasEnded = true
    while (this.#waiting > 0 && this.#mayBegin) this.#next()
  }

  #next(): void {
    for (const [whose, line] of this.#turns) {
      this.#turns.delete(whose)
      for (const turn of line) {
        line.delete(turn)
        this.#waiting -= 1
        if (line.size > 0) this.#turns.set(whose, line) // Behind everybody else.
        return turn()
      }
    }
  }

  #forget(whose: string, turn: () => void): void {
    const line = this.#turns.get(whose)
    if (line?.delete(turn)) this.#waiting -= 1
    if (line?.size === 0) this.#turns.delete(whose)
  }

  #lookLater(): void {
    if (this.#isLooking) return
    const { clock, idleMs } = this.#parts
    this.#isLooking = true
    this.#hasEnded = false
    this.#idleMs = idleMs()
    clock.after(lookEveryMs, () => this.#look())
  }

  #look(): void {
    const { callsInHandMax, idleMs } = this.#parts
    const isIdle = idleMs() - this.#idleMs > lookEveryMs * idleShare
    const most = isIdle || !this.#hasEnded ? Math.ceil(callsInHandMax * letInShare) : 0
    for (let letIn = 0; letIn < most && this.#waiting > 0; letIn += 1) this.#next()
    this.#isLooking = false
    if (this.#waiting > 0) this.#lookLater()
  }
}

import type { Egress, Outbound } from '../../src/upstreams/egress.ts'
import type { AnswerHandler, ExchangeControl } from '../../src/upstreams/exchange-control.ts'
import { between } from '../chance.ts'
import type { Phase, Upstream } from './cast.ts'
import type { VirtualClock } from './clock.ts'
import { type Played, playing } from './played.ts'
import { type Act, type AskedUpstream, actsOf } from './script.ts'

/** One request as its upstream sees it. */
export interface Sent {
  readonly played: Played
  readonly accountId: string
  readonly phase: Phase
  readonly sentMs: number
  /** The request has arrived, and its answer is not over. */
  isOpen: boolean
  isOver: boolean
  /** When the answer began; undefined before, and when there is none. In the clock's elapsed milliseconds. */
  begunMs: number | undefined
  /** When the upstream last said anything. */
  lastMs: number
  /** The upstream's own fault is out. */
  isFault: boolean
  /** All that it said of the answer. */
  readonly said: Buffer[]
}

export interface UpstreamParts {
  readonly clock: VirtualClock
  readonly chance: () => number
  readonly say: (what: string) => void
  readonly onSent: (sent: Sent) => void
  readonly onArrived: (sent: Sent) => void
  readonly onBegun: (sent: Sent) => void
}

/** The one way out, into upstreams that live by the virtual clock. What they do depends on their phase at the moment of the call. */
export function simulatedEgress(upstreams: readonly Upstream[], parts: UpstreamParts): Egress {
  const byKey = new Map(upstreams.map(upstream => [`Bearer ${upstream.account.apiKey}`, upstream]))
  return {
    send(outbound, handler) {
      const { account, phases } = byKey.get(outbound.headers['authorization'] ?? '')!
      const sentMs = parts.clock.elapsedMs()
      const phase = phases.findLast(({ fromMs }) => fromMs <= sentMs)!
      const played = playing.getStore()!
      const sent: Sent = {
        played,
        accountId: account.id,
        phase,
        sentMs,
        isOpen: false,
        isOver: false,
        begunMs: undefined,
        lastMs: sentMs,
        isFault: false,
        said: [],
      }
      played.sent.push(sent)
      parts.onSent(sent)
      new Exchange(sent, handler, parts).connect(actsOf(phase, askedOf(outbound), parts.chance))
    },
    openSocket() {
      throw new Error('no client of the simulation speaks WebSocket')
    },
    close: async () => {},
  }
}

function askedOf({ body }: Outbound): AskedUpstream {
  return JSON.parse(Buffer.concat(body).toString())
}

/** Request and answer, as a connection would tell the handler of them. */
class Exchange implements ExchangeControl {
  readonly #sent: Sent
  readonly #handler: AnswerHandler
  readonly #parts: UpstreamParts
  #acts: readonly Act[] = []
  #next = 0
  /** An act has come due while the reader asked for silence. */
  #isDue = false
  aborted = false
  paused = false
  reason: Error | null = null

  constructor(sent: Sent, handler: AnswerHandler, parts: UpstreamParts) {
    this.#sent = sent
    this.#handler = handler
    this.#parts = parts
  }

  connect(acts: readonly Act[]): void {
    const { clock, chance, onArrived } = this.#parts
    this.#acts = acts
    if (acts[0]?.does.kind === 'error' && this.#sent.phase.mood === 'dead') return this.#plan()
    // Connections are mostly there already, and now and then one has to be made.
    clock.after(chance() < 0.85 ? 0 : between(chance, 5, 2_000), () => {
      this.#handler.onRequestStart(this)
      if (this.aborted) return
      this.#sent.isOpen = true
      onArrived(this.#sent)
      this.#plan()
    })
  }

  abort(reason: Error): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    this.#over()
    this.#parts.say(`${this.#name} is aborted: ${reason.message}`)
    this.#parts.clock.after(0, () => this.#handler.onResponseError(this, reason))
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    if (this.#isDue) this.#parts.clock.after(0, () => this.#due())
    this.#isDue = false
  }

  get #name(): string {
    return `${this.#sent.played.name} at ${this.#sent.accountId}`
  }

  #over(): void {
    this.#sent.isOpen = false
    this.#sent.isOver = true
  }

  #plan(): void {
    const act = this.#acts[this.#next]
    if (act !== undefined) this.#parts.clock.after(act.afterMs, () => this.#due())
  }

  #due(): void {
    if (this.aborted) return
    if (this.paused) {
      this.#isDue = true
      return
    }
    const act = this.#acts[this.#next++]!
    this.#sent.lastMs = this.#parts.clock.elapsedMs()
    if (act.isFault) this.#sent.isFault = true
    if (act.begins) {
      this.#sent.begunMs = this.#sent.lastMs
      this.#parts.onBegun(this.#sent)
    }
    this.#do(act.does)
    if (!this.aborted) this.#plan()
  }

  #do(does: Act['does']): void {
    const { say } = this.#parts
    switch (does.kind) {
      case 'head':
        say(`${this.#name} says ${does.status}`)
        return this.#handler.onResponseStart(this, does.status, { ...does.headers })
      case 'bytes':
        this.#sent.said.push(does.bytes)
        return this.#handler.onResponseData(this, does.bytes)
      case 'end':
        this.#over()
        say(`${this.#name} has said all`)
        return this.#handler.onResponseEnd(this)
      case 'error':
        this.#over()
        say(`${this.#name} breaks off: ${does.error.message}`)
        return this.#handler.onResponseError(this, does.error)
    }
  }
}

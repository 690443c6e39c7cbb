import { Fault } from '../../lib/fault.ts'
import { type ServerMessage, steeredIdIn } from '../../protocols/openai-websocket.ts'
import type { Server } from '../../upstreams/choosable.ts'
import type { Outbound } from '../../upstreams/egress.ts'
import type { Gateway } from '../gateway.ts'
import { create } from './create.ts'
import type { Exchange } from './exchange.ts'
import { Places } from './shared-slot.ts'
import type { SocketClient } from './socket-client.ts'
import { follow } from './succeed.ts'
import { newTurn, type Turn } from './turn.ts'
import { type Downstream, Upstream } from './upstream.ts'

/** What carries it: closes the client's socket, and counts what is under way. */
export interface Carrier {
  close(code: number): void
  track(work: Promise<void>): void
}

/** Creates that follow one another. A lane stays until the socket is closed. */
interface Lane {
  readonly waiting: Turn[]
  isBusy: boolean
}

/** Continuation state is small, but a socket lives for an hour: the oldest responses are forgotten first. */
const rememberedMax = 1_000

/**
 * All that one client says over one WebSocket, and the one upstream that remembers it: where the first response begins, all others
 * belong. Lanes run beside each other; within one its calls follow one another.
 */
export class Conversation implements Downstream {
  accountId: string | undefined
  hasLeft = false
  readonly #gateway: Gateway
  readonly #carrier: Carrier
  readonly #lanes = new Map<string, Lane>()
  /** What each lane is at. */
  readonly #current = new Map<string, Turn>()
  /** By the ids of their responses, while these run or may be followed. */
  readonly #turns = new Map<string, Turn>()
  readonly #clients = new Set<SocketClient>()
  /** Responses that were made here, and the tokens that a call which goes on from them takes up again. */
  readonly #contexts = new Map<string, number>()
  #upstream: Upstream | undefined
  #isBroken = false
  #leading: Promise<void> | undefined
  #ending: { readonly code: number; readonly why: Fault } | undefined
  #calls = 0

  constructor(gateway: Gateway, carrier: Carrier) {
    this.#gateway = gateway
    this.#carrier = carrier
  }

  /** Why this lane takes no more calls; undefined when it does. */
  fullness(lane: string): Fault | undefined {
    const { socketCallsMax, socketLanesMax } = this.#gateway.settings
    const named = [...this.#lanes.keys()].filter(name => name !== '').length
    if (lane !== '' && !this.#lanes.has(lane) && named >= socketLanesMax) {
      return new Fault('streams_full', { values: { what: 'lanes', most: socketLanesMax } })
    }
    if (this.#calls >= socketCallsMax) return new Fault('streams_full', { values: { what: 'calls', most: socketCallsMax } })
    return undefined
  }

  /** Puts a call into its lane. */
  take(client: SocketClient): void {
    const name = client.streamId ?? ''
    let lane = this.#lanes.get(name)
    if (lane === undefined) this.#lanes.set(name, (lane = { waiting: [], isBusy: false }))
    this.#calls += 1
    lane.waiting.push(newTurn(client, new Places(this.#gateway.coordinator)))
    this.join(client)
    if (!lane.isBusy) this.#carrier.track(this.#work(name, lane))
  }

  /** A call that is refused, whatever its lane is at. */
  async refuse(client: SocketClient): Promise<void> {
    this.join(client)
    await create(newTurn(client, new Places(this.#gateway.coordinator)), this, this.#gateway)
    this.#clients.delete(client)
  }

  /** Who is to hear when the socket is closed. */
  join(client: SocketClient): void {
    this.#clients.add(client)
    if (this.hasLeft) client.leave()
    void client.over.then(() => this.#clients.delete(client))
  }

  /** The client's socket is closed. What runs is read to its end, as the drain allows; its user's slots are free now. */
  leave(): void {
    this.hasLeft = true
    for (const client of this.#clients) client.leave()
    this.#rest()
  }

  /** Nothing new is begun; when nothing runs any more the socket is closed. */
  end(code: number, why: Fault): void {
    this.#ending ??= { code, why }
    this.#rest()
  }

  mayGoOn(): void {
    if (this.#ending !== undefined) throw this.#ending.why
  }

  /** Until a first response has begun nobody knows where the others belong: they wait for it. Disposing lets them go on. */
  async lead(): Promise<Disposable> {
    while (this.accountId === undefined && this.#leading !== undefined) await this.#leading
    if (this.accountId !== undefined) return { [Symbol.dispose]() {} }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#leading = promise
    return {
      [Symbol.dispose]: () => {
        if (this.#leading === promise) this.#leading = undefined
        resolve()
      },
    }
  }

  /** The one socket; until it has answered there is nothing on it to stay for, and each attempt opens its own. */
  upstream(outbound: Outbound): Upstream {
    if (this.accountId !== undefined && this.#upstream !== undefined) return this.#upstream
    this.#upstream?.close()
    this.#isBroken = false
    this.#upstream = new Upstream(outbound, this, this.#gateway)
    return this.#upstream
  }

  stayAt({ account }: Server): void {
    this.accountId = account.id
    if (this.#isBroken) this.end(closedFor.upstreamGone, new Fault('upstream_failed'))
  }

  say(message: Buffer): void {
    this.#upstream?.say(message)
  }

  remember(responseId: string, contextTokens: number): void {
    for (const oldest of this.#contexts.keys()) {
      if (this.#contexts.size < rememberedMax) break
      this.#contexts.delete(oldest)
    }
    this.#contexts.set(responseId, contextTokens + (this.#contexts.get(responseId) ?? 0))
  }

  /** Undefined for a response that was not made here. */
  contextOf(responseId: string): number | undefined {
    return this.#contexts.get(responseId)
  }

  /** The response that runs, or ran last, under this id. */
  turnOf(responseId: unknown): Turn | undefined {
    return typeof responseId === 'string' ? this.#turns.get(responseId) : undefined
  }

  // What the upstream calls -------------------------------------------------------------------------------------------

  named(exchange: Exchange, responseId: string): void {
    const turn = this.#current.get(exchange.lane)
    if (turn !== undefined) this.#turns.set(responseId, turn)
  }

  steered(message: ServerMessage): void {
    const id = steeredIdIn(message.bytes) ?? ''
    const turn = this.#turns.get(id)
    if (turn?.exchange === undefined) return // Of a response that is not known here any more.
    const isRunning = !turn.exchange.isOver
    if (isRunning) turn.exchange.take(message)
    else turn.client.afterwards(message.bytes)
    const { successor } = turn
    if (successor === undefined) return
    if (message.type === 'response.steer.pending' && !successor.isDecided) {
      // The client's next create brings what is missing, and takes up what was steered.
      this.remember(id, successor.inputTokens)
      void successor.end()
    }
    if (message.type !== 'response.steer.failed') return
    successor.open -= 1
    if (successor.open > 0) return
    if (isRunning) turn.successor = undefined
    void successor.end()
  }

  unasked(exchange: Exchange): boolean {
    const turn = this.#current.get(exchange.lane)
    const successor = turn?.successor
    if (successor === undefined || successor.isDecided || turn?.exchange?.isOver !== true) return false
    this.#current.set(exchange.lane, successor.turn)
    successor.begin(exchange)
    return true
  }

  /** What it remembered is gone; a client that opens a new socket can go on, and one that was left to wait on this one could not. */
  broke(upstream: Upstream): void {
    if (upstream !== this.#upstream) return
    this.#isBroken = true
    for (const { successor } of this.#current.values()) void successor?.end()
    if (this.accountId !== undefined) this.end(closedFor.upstreamGone, new Fault('upstream_failed'))
  }

  // -------------------------------------------------------------------------------------------------------------------

  async #work(name: string, lane: Lane): Promise<void> {
    lane.isBusy = true
    for (let turn = lane.waiting.shift(); turn !== undefined; turn = lane.waiting.shift()) {
      try {
        await this.#run(name, turn)
      } catch (error) {
        this.#gateway.log.error({ err: error }, 'a call over a WebSocket could not be brought to its end')
      }
      this.#calls -= 1
    }
    lane.isBusy = false
    this.#rest()
  }

  async #run(name: string, first: Turn): Promise<void> {
    this.#current.set(name, first)
    await create(first, this, this.#gateway)
    let turn: Turn | undefined = first
    while (turn !== undefined) {
      const next: Turn | undefined = await follow(turn, this, this.#gateway)
      if (turn.exchange?.responseId !== undefined) this.#turns.delete(turn.exchange.responseId)
      turn = next
    }
    this.#current.delete(name)
  }

  /** When nothing runs: nobody needs the upstream whose client is gone, and a socket that is to end does so. */
  #rest(): void {
    if ([...this.#lanes.values()].some(({ isBusy }) => isBusy)) return
    if (this.hasLeft) this.#upstream?.close()
    else if (this.#ending !== undefined) this.#carrier.close(this.#ending.code)
  }
}

/** How a client's socket is closed (RFC 6455, 7.4.1, and the registry that it founded). */
export const closedFor = { age: 1000, stopping: 1001, upstreamGone: 1012 } as const

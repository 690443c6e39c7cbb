import type { IncomingMessage } from 'node:http'
import type { WebSocket } from 'ws'
import { readServerMessage, type ServerMessage } from '../../protocols/openai-websocket.ts'
import type { Outbound } from '../../upstreams/egress.ts'
import type { AnswerHandler } from '../../upstreams/exchange-control.ts'
import type { Gateway } from '../gateway.ts'
import { Exchange, type Wire } from './exchange.ts'

/** Whom an upstream's socket is for. */
export interface Downstream {
  /** The client is gone: what still runs is only read to learn what it costs. */
  readonly hasLeft: boolean
  named(exchange: Exchange, responseId: string): void
  /** Something about a steering: it belongs to the response that is steered. */
  steered(message: ServerMessage): void
  /** Whether somebody takes a response that no message of the client's asked for. */
  unasked(exchange: Exchange): boolean
  /** It is gone, and with it what it remembered; not by us. */
  broke(upstream: Upstream): void
}

const refusalBytesMax = 1024 * 1024

/** A WebSocket to one account, and the responses that run on it: at most one in each lane. */
export class Upstream implements Wire {
  headers: Readonly<Record<string, string>> = {}
  readonly #ws: WebSocket
  readonly #downstream: Downstream
  readonly #log: Gateway['log']
  readonly #exchanges = new Map<string, Exchange>()
  /** Creates that wait for the socket to open, and who is to be told what becomes of them. */
  readonly #unsent = new Map<Exchange, AnswerHandler>()
  /** The last response of each lane. */
  readonly #lastIds = new Map<string, string>()
  readonly #silent = new Set<Exchange>()
  #isClosed = false

  /** Throws what `openSocket` throws. */
  constructor({ origin, path, headers, route }: Outbound, downstream: Downstream, { egress, settings, log }: Gateway) {
    const { 'content-type': _, 'accept-encoding': __, accept: ___, ...asked } = headers
    this.#downstream = downstream
    this.#log = log
    this.#ws = egress.openSocket({ origin, path, headers: asked, route, messageBytesMax: settings.answerBytesMax })
    this.#ws.on('upgrade', response => {
      this.headers = idOf(response)
    })
    this.#ws.on('unexpected-response', (_, response) => void this.#refused(response))
    this.#ws.on('message', (data: Buffer, isBinary) => this.#take(data, isBinary))
    this.#ws.on('error', error => this.#broke(error))
    this.#ws.on('close', () => this.#broke(new Error('the upstream closed the WebSocket')))
  }

  /** Sends a create; what becomes of it is told to `handler`. */
  send(lane: string, body: readonly Buffer[], handler: AnswerHandler): Exchange {
    const exchange = this.#newExchange(lane)
    if (this.#isClosed) {
      queueMicrotask(() => breakUnsent(exchange, handler, new Error('the WebSocket is closed')))
      return exchange
    }
    const say = () => {
      if (exchange.isOver) return
      this.#unsent.delete(exchange)
      exchange.readBy(handler)
      if (!exchange.aborted) this.say(Buffer.concat(body))
    }
    this.#unsent.set(exchange, handler)
    if (this.#ws.readyState === this.#ws.OPEN) say()
    else this.#ws.once('open', say)
    return exchange
  }

  say(message: Buffer): void {
    if (!this.#isClosed) this.#ws.send(message, { binary: false })
  }

  /** Nothing is wanted of it any more. */
  close(): void {
    if (this.#isClosed) return
    this.#end(new Error('the WebSocket is not needed any more'))
    this.#ws.terminate()
  }

  pause(exchange: Exchange): void {
    this.#silent.add(exchange)
    this.#ws.pause()
  }

  resume(exchange: Exchange): void {
    if (this.#silent.delete(exchange) && this.#silent.size === 0) this.#ws.resume()
  }

  named(exchange: Exchange, responseId: string): void {
    this.#lastIds.set(exchange.lane, responseId)
    this.#downstream.named(exchange, responseId)
  }

  ended(exchange: Exchange): void {
    if (this.#exchanges.get(exchange.lane) === exchange) this.#exchanges.delete(exchange.lane)
  }

  /**
   * What was begun cannot be called off but by ending the socket. While its client is there that is what is done, because the rest of
   * an answer would come into its lane; later, it is done as soon as nobody wants anything of it.
   */
  abandoned(): void {
    // Whoever ends several ends all of them before the socket takes the others along.
    queueMicrotask(() => {
      const isUnwanted = [...this.#exchanges.values()].every(({ aborted }) => aborted)
      if (isUnwanted || !this.#downstream.hasLeft) this.#violated('a response was given up')
    })
  }

  #newExchange(lane: string): Exchange {
    const exchange = new Exchange(lane, this, this.#lastIds.get(lane))
    this.#exchanges.set(lane, exchange)
    return exchange
  }

  #take(bytes: Buffer, isBinary: boolean): void {
    if (this.#isClosed) return
    const message = isBinary ? undefined : readServerMessage(bytes)
    if (message === undefined) return this.#violated('the upstream sent what is no message')
    if (message.type.startsWith('response.steer.')) return this.#downstream.steered(message)
    const lane = message.streamId ?? ''
    const running = this.#exchanges.get(lane)
    if (running !== undefined) return running.take(message)
    if (message.type !== 'response.created') return // A last word on something that is over.
    const exchange = this.#newExchange(lane)
    // An answer for which no money is held must not go on.
    if (this.#downstream.unasked(exchange)) exchange.take(message)
    else this.#violated('the upstream began a response that nobody asked for')
  }

  #violated(why: string): void {
    if (this.#isClosed) return
    this.#log.warn({ why }, 'a WebSocket to an upstream is ended')
    this.#broke(new Error(why))
    this.#ws.terminate()
  }

  /** The upgrade was refused. What its status says of the account counts; any other refusal is of the socket, not of the call. */
  async #refused(response: IncomingMessage): Promise<void> {
    const { statusCode: status = 0, headers } = response
    if (!isOfAccount(status)) return this.#violated(`the upstream answered the upgrade with ${status}`)
    const chunks: Buffer[] = []
    let bytes = 0
    try {
      for await (const chunk of response) {
        bytes += chunk.length
        if (bytes > refusalBytesMax) break
        chunks.push(chunk)
      }
    } catch {
      // The status has said what is wrong, however much of the words came.
    }
    const said = Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
    for (const [exchange, handler] of this.#unsent) {
      exchange.readBy(handler)
      exchange.refuse({ status, headers: said, body: Buffer.concat(chunks) })
    }
    this.#unsent.clear()
    this.close()
  }

  #broke(error: Error): void {
    if (this.#isClosed) return
    this.#end(error)
    this.#downstream.broke(this)
  }

  #end(error: Error): void {
    this.#isClosed = true
    for (const [exchange, handler] of this.#unsent) breakUnsent(exchange, handler, error)
    this.#unsent.clear()
    for (const exchange of [...this.#exchanges.values()]) exchange.break(error)
  }
}

/** It never reached the upstream. */
function breakUnsent(exchange: Exchange, handler: AnswerHandler, error: Error): void {
  exchange.break(error)
  handler.onResponseError(exchange, error)
}

function isOfAccount(status: number): boolean {
  return [401, 402, 403, 429, 498].includes(status) || status >= 500
}

function idOf({ headers }: IncomingMessage): Record<string, string> {
  const id = headers['x-request-id']
  return typeof id === 'string' ? { 'x-request-id': id } : {}
}

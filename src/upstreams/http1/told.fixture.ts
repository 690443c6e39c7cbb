import type { Egress, Outbound } from '../egress.ts'
import type { AnswerHandler, ExchangeControl } from '../exchange-control.ts'

/** Remembers what it is told of one exchange. */
export class Told implements AnswerHandler {
  readonly events: string[] = []
  readonly pieces: Buffer[] = []
  status = 0
  headers: object = {}
  control!: ExchangeControl
  error: (Error & { code?: string }) | undefined
  /** Resolves when it is over, either way. */
  readonly over: Promise<this>
  /** Does something while it is told of that event. */
  readonly #during: (event: string, told: Told) => void
  #end!: (told: this) => void
  readonly #waiters: Array<{ event: string; then: () => void }> = []

  constructor(during: (event: string, told: Told) => void = () => {}) {
    this.#during = during
    this.over = new Promise(resolve => {
      this.#end = resolve
    })
  }

  get body(): string {
    return Buffer.concat(this.pieces).toString('latin1')
  }

  get bodyBytes(): number {
    return this.pieces.reduce((sum, { length }) => sum + length, 0)
  }

  /** Resolves when it is told of that. */
  until(event: string): Promise<void> {
    if (this.events.includes(event)) return Promise.resolve()
    return new Promise(then => this.#waiters.push({ event, then }))
  }

  onRequestStart(control: ExchangeControl): void {
    this.control = control
    this.#happened('sent')
  }

  onResponseStart(_: ExchangeControl, status: number, headers: object): void {
    this.status = status
    this.headers = headers
    this.#happened('head')
  }

  onResponseData(_: ExchangeControl, piece: Buffer): void {
    this.pieces.push(piece)
    if (this.events.at(-1) === 'body') this.#during('body', this)
    else this.#happened('body')
  }

  onResponseEnd(): void {
    this.#end(this)
    this.#happened('end')
  }

  onResponseError(_: ExchangeControl, error: Error): void {
    this.error = error
    this.#end(this)
    this.#happened('error')
  }

  #happened(event: string): void {
    this.events.push(event)
    for (const waiter of this.#waiters.filter(waiter => waiter.event === event)) waiter.then()
    this.#during(event, this)
  }
}

/** Sends a request, and remembers what is told of it. */
export function ask(egress: Egress, outbound: Partial<Outbound> & { origin: string }, during?: (event: string, told: Told) => void): Told {
  const told = new Told(during)
  const route = { proxy: null, allowPrivateAddress: true }
  egress.send({ path: '/v1/models', method: 'GET', headers: {}, body: [], route, ...outbound }, told)
  return told
}

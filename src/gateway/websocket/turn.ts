import type { Slot } from '../../coordination/coordinator.ts'
import type { Server } from '../../upstreams/choosable.ts'
import type { Admission } from '../admit.ts'
import type { Call } from '../read-call.ts'
import type { Exchange } from './exchange.ts'
import type { Places } from './shared-slot.ts'
import type { SocketClient } from './socket-client.ts'

/** One response of a lane, from its create or from the steering that asked for it; filled in as it comes about. */
export interface Turn {
  readonly client: SocketClient
  readonly places: Places
  admission: Admission | undefined
  call: Call | undefined
  server: Server | undefined
  /** Of the attempt made last. */
  exchange: Exchange | undefined
  /** What follows it, when it was steered. */
  successor: Successor | undefined
}

export function newTurn(client: SocketClient, places: Places): Turn {
  return { client, places, admission: undefined, call: undefined, server: undefined, exchange: undefined, successor: undefined }
}

/** A response that an upstream will begin by itself after another: admitted before that was steered, so that its money is there. */
export class Successor {
  readonly turn: Turn
  /** What was steered, for the case that the client must bring something itself first. */
  inputTokens = 0
  /** Steerings of which it is not known that they came to nothing. */
  open = 0
  admission: Admission | undefined
  readonly accountSlot: Slot
  /** The response, or undefined when none will come. */
  readonly exchange: Promise<Exchange | undefined>
  #resolve!: (exchange: Exchange | undefined) => void
  #isDecided = false

  constructor(turn: Turn, accountSlot: Slot) {
    this.turn = turn
    this.accountSlot = accountSlot
    this.exchange = new Promise(resolve => {
      this.#resolve = resolve
    })
  }

  get isDecided(): boolean {
    return this.#isDecided
  }

  begin(exchange: Exchange): void {
    this.#isDecided = true
    this.turn.exchange = exchange
    this.#resolve(exchange)
  }

  /** It will not come: money and slots go back. */
  async end(): Promise<void> {
    if (this.#isDecided) return
    this.#isDecided = true
    this.#resolve(undefined)
    await this.accountSlot[Symbol.asyncDispose]()
    await this.admission?.[Symbol.asyncDispose]()
    this.turn.call?.[Symbol.dispose]()
  }
}

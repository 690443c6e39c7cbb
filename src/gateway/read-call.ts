import type { Principal } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import { type Soon, whenThere } from '../lib/soon.ts'
import type { CallFacts, Protocol } from '../protocols/protocol.ts'
import type { Body } from './body.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { type Offer, offersFor } from './offers.ts'
import type { Receipt } from './receipt.ts'

/** What the client asks for, read once. The bytes stay as they came; disposing of the call gives back their room, unless it was handed over. */
export interface Call extends Disposable {
  readonly protocol: Protocol
  readonly facts: CallFacts
  readonly body: Body
  /** With its question mark, or empty. */
  readonly query: string
  /** The operator's default instructions, when they are to be added. */
  readonly instructions: string | undefined
  readonly inputTokens: number
  /** The groups that may serve it, in the key's order, each with the accounts that list the model. */
  readonly offers: readonly Offer[]
  /** The body is the drain's from now on. */
  handOver(): void
}

/** Reads the body and judges it, in the order of SPEC 1.2; at once when it has arrived and is not large. */
export function readCall(
  client: Client,
  principal: Principal,
  receipt: Receipt,
  gateway: Pick<Gateway, 'settings' | 'bodies' | 'clock' | 'closing' | 'reader' | 'directory'>,
): Soon<Call> {
  return whenThere(client.read(gateway), ({ body, reading }) => {
    try {
      if ('fault' in reading) throw new Fault(reading.fault)
      const { facts } = reading
      receipt.facts = facts
      const offers = offersFor({ facts, protocol: client.protocol }, principal, gateway.directory.snapshot(), receipt.beganAtMs)
      if (facts.toolOutputFault !== undefined) throw new Fault(facts.toolOutputFault)
      return new ReadCall({ facts, body, offers }, client, gateway.settings.defaultInstructions.trim())
    } catch (error) {
      body[Symbol.dispose]()
      throw error
    }
  })
}

/** Bytes of text per token, at the least: the estimate must never be below the truth. */
const bytesPerTokenMin = 2

class ReadCall implements Call {
  readonly protocol: Protocol
  readonly facts: CallFacts
  readonly body: Body
  readonly query: string
  readonly instructions: string | undefined
  readonly inputTokens: number
  readonly offers: readonly Offer[]
  #isOurs = true

  constructor({ facts, body, offers }: Pick<Call, 'facts' | 'body' | 'offers'>, client: Client, defaultInstructions: string) {
    const url = client.request.url ?? ''
    const at = url.indexOf('?')
    this.protocol = client.protocol
    this.facts = facts
    this.body = body
    this.query = at === -1 ? '' : url.slice(at)
    this.instructions = defaultInstructions !== '' && !facts.hasInstructions && !isCodex(client) ? defaultInstructions : undefined
    const added = this.instructions === undefined ? 0 : Math.ceil(Buffer.byteLength(this.instructions) / bytesPerTokenMin)
    this.inputTokens = facts.inputTokensEstimate + added
    this.offers = offers
  }

  handOver(): void {
    this.#isOurs = false
  }

  [Symbol.dispose](): void {
    if (this.#isOurs) this.body[Symbol.dispose]()
  }
}

function isCodex(client: Client): boolean {
  return (client.header('user-agent') ?? '').startsWith('codex_')
}

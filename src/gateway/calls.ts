import { Fault } from '../lib/fault.ts'
import { newId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { addressOf } from './address.ts'
import { type Client, HttpClient } from './client.ts'
import type { Gateway } from './gateway.ts'
import { Intake } from './intake.ts'
import { type Answer, routeOf } from './routes.ts'
import type { Asking, Wire } from './wire.ts'

/** What is asked, in whose words, and who answers it. */
export interface Called {
  readonly path: string
  readonly protocol: Protocol
  readonly answer: Answer
}

/** Undefined for what is no call. */
export function calledBy(method: string | undefined, path: string): Called | undefined {
  const route = routeOf(path)
  const answer = route?.answers[method ?? '']
  return route && answer && { path, protocol: route.protocol, answer }
}

/** How long the number of those in lines is believed: it takes a look at every line. */
const lookAtLinesMs = 10

/** All calls that are under way, by whichever wire they came. None of it rejects. */
export class Calls {
  readonly #gateway: Gateway
  readonly #intake: Intake
  readonly #inLine: () => number
  readonly #callsInHandMax: number
  #count = 0
  #total = 0
  #atRest: PromiseWithResolvers<void> | undefined
  #standInLine = 0
  #lookedMs = Number.NEGATIVE_INFINITY

  /** `inLine`: calls that stand in the lines of users and pools. `callsInHandMax`: how many may be in hand at once; 0 is any number. */
  constructor(gateway: Gateway, inLine: () => number, callsInHandMax: number) {
    const { clock, metrics } = gateway
    this.#gateway = gateway
    this.#inLine = inLine
    this.#callsInHandMax = callsInHandMax
    const idleMs = () => performance.eventLoopUtilization().idle
    this.#intake = new Intake({ callsInHandMax, clock, metrics, inHand: () => this.#inHand(), idleMs })
  }

  /** Those being handled. */
  get count(): number {
    return this.#count
  }

  /** Those that came since the start. */
  get total(): number {
    return this.#total
  }

  /** Of those being handled, how many are not begun yet. */
  get unread(): number {
    return this.#intake.waiting
  }

  /** Resolves when none is being handled any more. */
  async idle(): Promise<void> {
    while (this.#count > 0) await (this.#atRest ??= Promise.withResolvers<void>()).promise
  }

  begin({ path, protocol, answer }: Called, wire: Wire): void {
    const gateway = this.#gateway
    const open = () => {
      const client = newClient(wire, protocol, gateway)
      return answer(client, path, gateway).catch(error => mishandled(error, client, gateway))
    }
    const intake = this.#intake
    this.track(intake.hasRoom ? open() : intake.wait(keyOf(wire.asking), wire, () => begunSurely(open, wire, gateway)))
  }

  /** The same where nobody would catch what it throws. */
  beginSurely(called: Called, wire: Wire): void {
    try {
      this.begin(called, wire)
    } catch (error) {
      notTaken(error, this.#gateway)
      wire.cut()
    }
  }

  track(work: Promise<void>): void {
    this.#count += 1
    this.#total += 1
    work.then(this.#ended)
  }

  readonly #ended = () => {
    this.#count -= 1
    this.#intake.ended()
    if (this.#count > 0) return
    this.#atRest?.resolve()
    this.#atRest = undefined
  }

  /** What is in hand is what has begun, but for those who wait for a slot and those who are with an upstream. */
  #inHand(): number {
    const { clock, live, drain } = this.#gateway
    const begun = this.#count - this.#intake.waiting - Math.max(0, live.size - drain.count)
    if (begun < this.#callsInHandMax) return begun
    const nowMs = clock.elapsedMs()
    if (nowMs - this.#lookedMs >= lookAtLinesMs) {
      this.#standInLine = this.#inLine()
      this.#lookedMs = nowMs
    }
    return begun - this.#standInLine
  }
}

/** Only to tell one key from another: what it is worth is found out later. */
function keyOf({ headers }: Asking): string {
  const { authorization, 'x-api-key': key } = headers
  return authorization ?? String(key ?? '')
}

/** A call that waited: nobody would catch what it throws then. */
async function begunSurely(begin: () => Promise<void>, wire: Wire, gateway: Gateway): Promise<void> {
  try {
    await begin()
  } catch (error) {
    notTaken(error, gateway)
    wire.cut()
  }
}

/** A mistake of ours. */
export function notTaken(error: unknown, { log, metrics }: Pick<Gateway, 'log' | 'metrics'>): void {
  log.error({ err: error }, 'a request could not be taken')
  metrics.unauthenticated.inc({ fault: 'unforeseen' })
}

/** Handling never rejects; if it does, that is our mistake, and the client hears of it. */
function mishandled(error: unknown, client: Client, gateway: Gateway): void {
  gateway.log.error({ call: client.id, err: error }, 'a call could not be handled')
  gateway.metrics.unauthenticated.inc({ fault: 'unforeseen' })
  client.refuse(Fault.from(error), '')
}

export function newClient(wire: Wire, protocol: Protocol, { clock, settings, trustedProxies }: Gateway): Client {
  const id = newId(clock.nowMs())
  return new HttpClient(wire, { id, protocol, address: addressOf(wire.asking, trustedProxies), clock, settings })
}

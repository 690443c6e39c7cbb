import { between, oneOf } from '../chance.ts'
import { type Answer, type Json, openStream, send, type Target } from '../client.ts'
import type { World } from '../world.ts'

/** Somebody with a key, and everything upstream that is theirs. */
export interface Tenant {
  readonly number: number
  readonly target: Target
  readonly owned: Readonly<Record<Kind, Owned[]>>
}

export type Kind = 'response' | 'item' | 'conversation'

/** Something that lives on upstream, at the account that made it. */
export interface Owned {
  readonly kind: Kind
  readonly id: string
  /** The upstream key of that account. */
  readonly at: string
}

/** One conversation of a tenant's: steps that each take up something from before, with guesses at what is others' in between. */
export interface Chain {
  readonly number: number
  readonly tenant: Tenant
  /** Made within this chain, or shared by all of its tenant's: their conversations. */
  readonly mine: Owned[]
  stepsLeft: number
}

/** What one step asks. Nothing taken up: a beginning. */
export interface Step {
  readonly chain: Chain
  readonly takes: Owned | undefined
  /** It is none of the tenant's: another's, or nobody's. */
  readonly guesses: 'foreign' | 'unknown' | undefined
  readonly streams: boolean
}

type Chance = () => number

const kinds: readonly Kind[] = ['response', 'response', 'item', 'conversation']

/** Chosen from what there is when a round begins, so that a seed plans the same steps again. */
export function planStep(chain: Chain, tenants: readonly Tenant[], chance: Chance): Step {
  const streams = chance() < 0.5
  const plan = { chain, streams, guesses: undefined }
  const kind = oneOf(chance, kinds)
  if (chance() < 0.2) {
    const other = oneOf(
      chance,
      tenants.filter(({ number }) => number !== chain.tenant.number),
    )
    const foreign = other.owned[kind]
    if (chance() < 0.3 || foreign.length === 0) return { ...plan, takes: madeUp(kind, chance), guesses: 'unknown' }
    return { ...plan, takes: oneOf(chance, foreign), guesses: 'foreign' }
  }
  const known = chain.mine.filter(each => each.kind === kind)
  return { ...plan, takes: known.length === 0 ? undefined : oneOf(chance, known) }
}

const prefixes: Readonly<Record<Kind, string>> = { response: 'resp', item: 'msg', conversation: 'conv' }

function madeUp(kind: Kind, chance: Chance): Owned {
  return { kind, id: `${prefixes[kind]}_none${between(chance, 1, 1e9)}`, at: '' }
}

/** By which the upstream can tell whose call it is. */
const mark = (number: number) => `tenant ${number}.`

export function tenantOf(body: string): number {
  return Number(/tenant (\d+)\./.exec(body)?.[1] ?? Number.NaN)
}

export function bodyOf({ chain, takes }: Pick<Step, 'chain' | 'takes'>): object {
  const message = { role: 'user', content: `And then? ${mark(chain.tenant.number)}` }
  const input = takes?.kind === 'item' ? [{ type: 'item_reference', id: takes.id }, message] : [message]
  return {
    ...{ model: 'sim', input },
    ...(takes?.kind === 'response' && { previous_response_id: takes.id }),
    ...(takes?.kind === 'conversation' && { conversation: takes.id }),
  }
}

/** The response that came of it, or the refusal. */
export async function take(step: Step): Promise<{ readonly response?: Json; readonly refusal?: Answer }> {
  const { target } = step.chain.tenant
  const body = bodyOf(step)
  // A refusal is the same as JSON, whatever was asked for.
  if (!step.streams || step.guesses !== undefined) {
    const answer = await send(target, { body: { ...body, stream: step.streams } })
    return answer.status === 200 ? { response: answer.json } : { refusal: answer }
  }
  await using stream = openStream(target, { body })
  return { response: (await stream.until('response.completed')).response }
}

/** What a response leaves behind, at which account: the upstream's invoice says that. */
export function leftBy(response: Json, at: string): Owned[] {
  const items = (response.output as Json[]).map(({ id }) => ({ kind: 'item' as const, id: String(id), at }))
  return [{ kind: 'response', id: String(response.id), at }, ...items]
}

/** Which account made which response; reads each line of the invoice once. */
export function issuers({ sim }: World): (responseId: unknown) => string | undefined {
  const known = new Map<string, string>()
  let read = 0
  return id => {
    for (; read < sim.invoice.length; read += 1) {
      const { responseId, key } = sim.invoice[read]!
      if (responseId !== null) known.set(responseId, key)
    }
    return known.get(String(id))
  }
}

/** All that a refusal tells whoever guessed, but for the id itself and what is new with every answer. */
export function telling({ status, headers, body }: Answer, id: string): string {
  const { 'x-request-id': _, date: __, 'content-length': ___, ...rest } = headers
  return JSON.stringify([status, rest, body.replaceAll(id, 'id')])
}

import type { Group } from '../directory/entities.ts'
import type { Principal, Snapshot } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import { lacks, type Needs, needsOf, needTheSame, upstreamModel } from '../upstreams/account.ts'
import { Choosable, type Server } from '../upstreams/choosable.ts'
import type { Call } from './read-call.ts'

/** A group that may serve a call, with those of its accounts that can. */
export interface Offer {
  readonly group: Group
  readonly servers: readonly Server[]
  readonly choosable: Choosable
  /** What its accounts differ in by price: each name and default tier that one of them has, once. */
  readonly kinds: readonly Kind[]
}

export interface Kind {
  readonly model: string
  readonly defaultTier: string
}

type Asked = Pick<Call, 'facts' | 'protocol'>

/** The groups that can serve it and have a price for it, in the key's order. Fails with why none can, or that none has a price. */
export function offersFor(asked: Asked, { groups }: Principal, snapshot: Snapshot, atMs: number): Offer[] {
  const reasons: string[] = []
  const offers: Offer[] = []
  for (const group of groups) {
    const offer = offerOf(group, asked, snapshot)
    const priced = typeof offer === 'string' ? undefined : pricedOf(offer, snapshot, atMs)
    if (typeof offer === 'string') reasons.push(offer)
    else if (priced !== undefined) offers.push(priced)
  }
  if (offers.length > 0) return offers
  if (reasons.length < groups.length) throw new Fault('model_unpriced', { values: { model: asked.facts.model.slice(0, toldCharsMax) } })
  throw new Fault('model_unserved', { values: { why: reasons.join('; ') || 'the key has no group' } })
}

const toldCharsMax = 100
/** Clients say models, so what is remembered of them has an end. */
const rememberedMax = 1_000
const rememberedCharsMax = 200

/** By snapshot: a group may have a thousand accounts, and most calls ask for one of a few models. */
const remembered = new WeakMap<Snapshot, Remembered>()

/** The offer, or why the group has none. */
function offerOf(group: Group, asked: Asked, snapshot: Snapshot): Offer | string {
  const { facts, protocol } = asked
  if (facts.model.length > rememberedCharsMax) return makeOffer(group, asked, snapshot)
  let offers = remembered.get(snapshot)
  if (offers === undefined) remembered.set(snapshot, (offers = new Remembered()))
  const needs = needsOf(facts, protocol)
  const found = offers.find(group, facts.model, needs)
  if (found !== undefined) return found
  const offer = makeOffer(group, asked, snapshot)
  offers.add({ group, needs, offer }, facts.model)
  return offer
}

interface Made {
  /** One may have been read anew without its accounts: an offer is made for the one at hand. */
  readonly group: Group
  readonly needs: Needs
  readonly offer: Offer | string
}

/** Offers by model. One text of all that tells them apart would be made, and hashed, for each call. */
class Remembered {
  readonly #byModel = new Map<string, Made[]>()
  #count = 0

  find(group: Group, model: string, needs: Needs): Offer | string | undefined {
    return this.#byModel.get(model)?.find(made => made.group === group && needTheSame(made.needs, needs))?.offer
  }

  add(made: Made, model: string): void {
    if (this.#count >= rememberedMax) this.#forget()
    this.#count += 1
    const alike = this.#byModel.get(model)
    if (alike === undefined) this.#byModel.set(model, [made])
    else alike.push(made)
  }

  #forget(): void {
    this.#byModel.clear()
    this.#count = 0
  }
}

function makeOffer(group: Group, { facts, protocol }: Asked, snapshot: Snapshot): Offer | string {
  const accounts = snapshot.accountsOf(group.id)
  const servers: Server[] = []
  let lacking: string | undefined
  for (const account of accounts) {
    const model = upstreamModel(account, facts.model)
    if (model === undefined) continue
    const lack = lacks(account, facts, protocol)
    if (lack === undefined) servers.push({ account, model })
    else lacking = `${account.name} ${lack}`
  }
  if (servers.length > 0) return offerWith(group, servers, snapshot)
  if (accounts.length === 0) return `group ${group.name} is empty`
  return lacking ?? `no account of group ${group.name} lists the model ${facts.model.slice(0, toldCharsMax)}`
}

/** Of offers of which something has no price: the part that has one, as the models of that part say. */
const pricedParts = new WeakMap<Offer, { readonly models: string; readonly part: Offer }>()

/** Without what has no price, unless its group says that it is free; undefined when nothing is left. */
function pricedOf(offer: Offer, snapshot: Snapshot, atMs: number): Offer | undefined {
  const hasPrice = ({ model }: { readonly model: string }) => snapshot.priceBook.resolve(model, atMs) !== undefined
  if (offer.group.unpriced === 'free' || offer.kinds.every(hasPrice)) return offer
  const priced = offer.kinds.filter(hasPrice)
  if (priced.length === 0) return undefined
  const models = priced.map(({ model }) => model).join('\n')
  const known = pricedParts.get(offer)
  if (known?.models === models) return known.part
  const part = offerWith(offer.group, offer.servers.filter(hasPrice), snapshot)
  pricedParts.set(offer, { models, part })
  return part
}

function offerWith(group: Group, servers: readonly Server[], { accounts }: Snapshot): Offer {
  return { group, servers, choosable: new Choosable(servers, accounts), kinds: kindsOf(servers) }
}

function kindsOf(servers: readonly Server[]): readonly Kind[] {
  const kinds = new Map<string, Kind>()
  for (const { account, model } of servers) kinds.set(`${account.defaultTier} ${model}`, { model, defaultTier: account.defaultTier })
  return [...kinds.values()]
}

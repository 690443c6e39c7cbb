import type { Group } from '../directory/entities.ts'
import { type Lru, lru } from '../directory/lru.ts'
import type { Principal, Snapshot } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import type { CallFacts, Protocol } from '../protocols/protocol.ts'
import { lacks, upstreamModel } from '../upstreams/account.ts'
import { Choosable, type Server } from '../upstreams/choosable.ts'

/** A group that may serve a call, and its accounts that list the model and can do what the call asks for. */
export interface Offer extends Serving {
  readonly group: Group
}

interface Serving {
  readonly servers: readonly Server[]
  readonly choosable: Choosable
  /** What the servers are priced by, each once: thousands of accounts have few. */
  readonly tariffs: readonly Tariff[]
}

interface Tariff {
  readonly model: string
  readonly defaultTier: string
}

type Asked = { readonly facts: CallFacts; readonly protocol: Protocol }

/** The groups that may serve the call, in the key's order. Throws when there is none, or nothing gives the model a price. */
export function offersFor(asked: Asked, { groups }: Principal, snapshot: Snapshot, atMs: number): Offer[] {
  const reasons: string[] = []
  const offers: Offer[] = []
  for (const group of groups) {
    const serving = servingOf(group, asked, snapshot)
    if (typeof serving === 'string') reasons.push(serving)
    else offers.push({ group, ...serving })
  }
  if (offers.length === 0) throw new Fault('model_unserved', { values: { why: reasons.join('; ') || 'the key has no group' } })
  const priced = offers.flatMap(offer => withPrice(offer, snapshot, atMs) ?? [])
  if (priced.length === 0) throw new Fault('model_unpriced', { values: { model: asked.facts.model.slice(0, 100) } })
  return priced
}

/**
 * What was found of groups is kept as long as the snapshot, because thousands of accounts may have to be looked at for it. Clients
 * make up models, and groups that list none serve them all: so it is bounded.
 */
const servingsKept = new WeakMap<Snapshot, Lru<Serving>>()
const servingsMax = 200
const keptModelCharsMax = 200

/** Or why the group does not serve the call. */
function servingOf(group: Group, asked: Asked, snapshot: Snapshot): Serving | string {
  if (asked.facts.model.length > keptModelCharsMax) return lookThrough(group, asked, snapshot)
  let servings = servingsKept.get(snapshot)
  if (servings === undefined) servingsKept.set(snapshot, (servings = lru(servingsMax)))
  const name = `${group.id} ${needsOf(asked)} ${asked.facts.model}`
  const found = servings.get(name)
  if (found !== undefined) return found
  const serving = lookThrough(group, asked, snapshot)
  if (typeof serving !== 'string') servings.set(name, serving)
  return serving
}

/** All that decides, besides group and model, which accounts can take the call: what `lacks` looks at. */
function needsOf({ facts, protocol }: Asked): string {
  const { serviceTier: tier, background, hasHostedTools } = facts
  const isStateful = (facts.previousResponseId ?? facts.conversationId) !== undefined
  const isTiered = tier !== undefined && tier !== 'auto' && tier !== 'default'
  return `${protocol.name} ${isStateful} ${background} ${isTiered} ${hasHostedTools}`
}

function lookThrough(group: Group, { facts, protocol }: Asked, snapshot: Snapshot): Serving | string {
  const servers: Server[] = []
  let lacking: string | undefined
  for (const account of snapshot.accountsOf(group.id)) {
    const model = upstreamModel(account, facts.model)
    if (model === undefined) continue
    const lack = lacks(account, facts, protocol)
    if (lack === undefined) servers.push({ account, model })
    else lacking = `${account.name} ${lack}`
  }
  if (servers.length > 0) return serving(servers, snapshot)
  if (snapshot.accountsOf(group.id).length === 0) return `group ${group.name} is empty`
  return lacking ?? `no account of group ${group.name} lists the model ${facts.model.slice(0, 100)}`
}

function serving(servers: readonly Server[], { accounts }: Pick<Snapshot, 'accounts'>): Serving {
  const tariffs = new Map(servers.map(({ account: { defaultTier }, model }) => [`${defaultTier} ${model}`, { model, defaultTier }]))
  return { servers, choosable: new Choosable(servers, accounts), tariffs: [...tariffs.values()] }
}

/** Of servings of which something has no price: the part that has one, and the models of that part. */
const pricedParts = new WeakMap<Choosable, { readonly models: string; readonly part: Serving }>()

/** Leaves out what has no price, unless its group says that it is free; undefined when nothing is left. */
function withPrice(offer: Offer, snapshot: Snapshot, atMs: number): Offer | undefined {
  const { group, servers, choosable, tariffs } = offer
  const hasPrice = ({ model }: Pick<Tariff, 'model'>) => snapshot.priceBook.resolve(model, atMs) !== undefined
  const priced = tariffs.filter(hasPrice)
  if (group.unpriced === 'free' || priced.length === tariffs.length) return offer
  if (priced.length === 0) return undefined
  const models = priced.map(({ model }) => model).join('\n')
  const kept = pricedParts.get(choosable)
  if (kept?.models === models) return { group, ...kept.part }
  const part = serving(servers.filter(hasPrice), snapshot)
  pricedParts.set(choosable, { models, part })
  return { group, ...part }
}

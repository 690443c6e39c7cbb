import type { Account } from '../directory/entities.ts'
import type { Principal, Snapshot } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import { upstreamModel } from '../upstreams/account.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'

export const modelsPath = '/models'

/**
 * The models that a key may use: what an account of its groups serves and something gives a price, or its group gives away. An account
 * whose table is empty serves whatever there is a price for.
 */
export function modelsOf({ groups }: Principal, snapshot: Snapshot, atMs: number): readonly string[] {
  const names = new Set<string>()
  for (const group of groups) {
    for (const account of snapshot.accountsOf(group.id)) {
      if (account.disabled) continue
      for (const name of namesOf(account, snapshot)) {
        if (group.unpriced === 'free' || isPriced(account, name, snapshot, atMs)) names.add(name)
      }
    }
  }
  return [...names].sort()
}

/** `GET /v1/models`, in OpenAI's form; and in Codex's too when it says which version it is. */
export function tellModels(principal: Principal, client: Client, { clock, directory }: Gateway): object {
  const atMs = clock.nowMs()
  const names = modelsOf(principal, directory.snapshot(), atMs)
  const list = { object: 'list', data: names.map(name => modelView(name, directory.snapshot(), atMs)) }
  const isCodex = new URLSearchParams((client.request.url ?? '').split('?')[1]).has('client_version')
  return isCodex ? { ...list, models: names.map(codexView) } : list
}

/** `GET /v1/models/{id}`. One that this key may not use is answered like one that nobody has. */
export function tellModel(principal: Principal, client: Client, { clock, directory }: Gateway): object {
  const [path = ''] = (client.request.url ?? '').split('?', 1)
  const name = decoded(path.slice(path.indexOf(`${modelsPath}/`) + modelsPath.length + 1))
  const atMs = clock.nowMs()
  if (name !== undefined && modelsOf(principal, directory.snapshot(), atMs).includes(name))
    return modelView(name, directory.snapshot(), atMs)
  throw new Fault('model_unknown', { values: { model: (name ?? '').slice(0, 100) } })
}

function namesOf(account: Account, { prices }: Snapshot): Iterable<string> {
  const table = Object.keys(account.models)
  return table.length > 0 ? table : new Set(prices.map(({ model }) => model))
}

function isPriced(account: Account, name: string, { priceBook }: Snapshot, atMs: number): boolean {
  const served = upstreamModel(account, name)
  return served !== undefined && priceBook.resolve(served, atMs) !== undefined
}

/** Since when it has had a price is all that is known of its age. */
function modelView(name: string, { prices }: Snapshot, atMs: number) {
  const since = prices.filter(({ model }) => model === name).map(({ effectiveFromMs }) => effectiveFromMs)
  return { id: name, object: 'model', created: Math.floor(Math.min(atMs, ...since) / 1000), owned_by: 'headgate' }
}

/** The fields that Codex's own catalogue has; what is not known here is null, and Codex falls back to its own table. */
function codexView(name: string, index: number) {
  return {
    slug: name,
    display_name: name,
    description: null,
    supported_reasoning_levels: [],
    shell_type: 'default',
    visibility: 'list',
    supported_in_api: true,
    priority: index,
    context_window: null,
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // No name is written so.
  }
}

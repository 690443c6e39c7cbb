import type { Database, Row, Step } from '../storage/database.ts'
import { text, whole } from './cells.ts'
import { readMany } from './pages.ts'
import { step } from './steps.ts'

/** Whose an id is that an upstream made, and which account it lives at. */
export interface Owner {
  readonly userId: string
  readonly accountId: string
  /** The tokens that a call which continues from it has as context. */
  readonly contextTokens: number
  /** response, conversation, file, item. */
  readonly kind: string
}

export interface Owners {
  ownerOf(id: string): Promise<Owner | undefined>
  /** Those that are known, by id, in one read. */
  ownersOf(ids: readonly string[]): Promise<Map<string, Owner>>
}

/** Remembers an owner; the first one to be told stays, so that nobody takes an id over. For the settle's commit. */
export function ownerSteps(owner: Owner & { readonly id: string; readonly atMs: number }): Step[] {
  const { id, kind, userId, accountId, contextTokens, atMs } = owner
  return [step(insertOwner, [id, kind, userId, accountId, contextTokens, atMs])]
}

/** Reads owners from the books, each time: were found ones remembered, time would tell a foreign id from an unknown one. */
export function openOwners(database: Database): Owners {
  async function ownersOf(ids: readonly string[]): Promise<Map<string, Owner>> {
    const rows = await readMany(database.read, selectOwners, [...new Set(ids)])
    return new Map(rows.map(row => [text(row, 'id'), ownerIn(row)]))
  }

  return { ownersOf, ownerOf: async id => (await ownersOf([id])).get(id) }
}

function ownerIn(row: Row): Owner {
  return {
    userId: text(row, 'user_id'),
    accountId: text(row, 'account_id'),
    contextTokens: whole(row, 'context_tokens'),
    kind: text(row, 'kind'),
  }
}

const insertOwner = `insert into owners (id, kind, user_id, account_id, context_tokens, created_at)
  values ($1, $2, $3, $4, $5, $6) on conflict (id) do nothing`

function selectOwners(places: string): string {
  return `select id, kind, user_id, account_id, context_tokens from owners where id in (${places})`
}

import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { text, textOrNull, whole } from './cells.ts'
import { readMany } from './pages.ts'
import { step } from './steps.ts'

/** Whose an id is that an upstream made, and which account it lives at. */
export interface Owner {
  readonly userId: string
  readonly accountId: string
  /** The tokens that a call which continues from it has as context. */
  readonly contextTokens: number
  /** response, conversation, file, item, container. */
  readonly kind: string
  /** What the client called the model, when the upstream was told another name. */
  readonly model: string | null
}

/** An owner as it is written. */
export type NewOwner = Omit<Owner, 'model'> & { readonly id: string; readonly atMs: number; readonly model?: string | null }

export interface Owners {
  ownerOf(id: string): Promise<Owner | undefined>
  /** Those that are known, by id, in one read. */
  ownersOf(ids: readonly string[]): Promise<Map<string, Owner>>
  /** Writes one down by itself; durable when it resolves. Rejects with the books' error. */
  keep(owner: NewOwner): Promise<void>
  /** The context that goes with an id has become longer. */
  lengthen(id: string, tokens: number): Promise<void>
}

/**
 * Remembers an owner; the first one to be told stays, so that nobody takes an id over, and stays after what it names was deleted, so
 * that nobody ever can. Told again by the same one, its context is what it is now. For the settle's commit.
 */
export function ownerSteps({ id, kind, userId, accountId, contextTokens, atMs, model = null }: NewOwner): Step[] {
  return [{ statement: insertOwner, values: [id, kind, userId, accountId, contextTokens, atMs, model] }]
}

/** Reads owners from the books, each time: were found ones remembered, time would tell a foreign id from an unknown one. */
export function openOwners(database: Pick<Database, 'read' | 'commit'>): Owners {
  async function ownersOf(ids: readonly string[]): Promise<Map<string, Owner>> {
    const rows = await readMany(database.read, selectOwners, [...new Set(ids)])
    return new Map(rows.map(row => [text(row, 'id'), ownerIn(row)]))
  }

  return {
    ownersOf,
    ownerOf: async id => (await ownersOf([id])).get(id),
    async keep(owner) {
      await database.commit(ownerSteps(owner), 'synced')
    },
    async lengthen(id, tokens) {
      await database.commit([step(lengthenContext, [id, tokens])], 'ordered')
    },
  }
}

function ownerIn(row: Row): Owner {
  return {
    userId: text(row, 'user_id'),
    accountId: text(row, 'account_id'),
    contextTokens: whole(row, 'context_tokens'),
    kind: text(row, 'kind'),
    model: textOrNull(row, 'model'),
  }
}

const insertOwner = statement(`insert into owners (id, kind, user_id, account_id, context_tokens, created_at, model)
  values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do update set context_tokens = excluded.context_tokens
  where owners.user_id = excluded.user_id and owners.account_id = excluded.account_id`)

const lengthenContext = 'update owners set context_tokens = context_tokens + $2 where id = $1'

function selectOwners(places: string): string {
  return `select id, kind, user_id, account_id, context_tokens, model from owners where id in (${places})`
}

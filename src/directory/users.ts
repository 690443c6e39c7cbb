import { openWalletStep } from '../ledger/entries.ts'
import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { flag, text, whole, wholeOrNull } from './cells.ts'
import type { User } from './entities.ts'
import type { Page } from './pages.ts'
import { insertStep, type Made, type RowValues, step, updateStep } from './steps.ts'

/** What an operator says of a user. */
export type UserDraft = Omit<User, 'id' | 'walletId' | 'createdAtMs'>

/** A new user and an empty wallet, which has the user's id. */
export function makeUser(draft: UserDraft, nowMs: number): Made<User> {
  const id = newId(nowMs)
  const entity: User = { ...draft, id, walletId: id, createdAtMs: nowMs }
  const insert = insertStep('users', recordOf(entity), `There is a user ${draft.email} already.`)
  return { entity, steps: [insert, openWalletStep(id, id)] }
}

/** Replaces what an operator said of a user. */
export function changeUser(user: User): Step[] {
  const sentence = `The user ${user.email} cannot be saved: it was removed meanwhile, or another user has this address.`
  return [updateStep('users', recordOf(user), ['email'], sentence)]
}

/** Removes a user of whom the books know nothing; guarded, so that nobody's money or history loses its owner. */
export function removeUser({ id, email }: User): Step[] {
  const guard = { rows: 1, otherwise: `The user ${email} cannot be removed: keys, money or calls refer to it. Disable it instead.` }
  return [step(deleteWallet, [id], guard), step(deleteUser, [id], guard)]
}

/** By id or by e-mail address. */
export async function findUser(database: Database, ref: string): Promise<User | undefined> {
  const [row] = await database.report(oneUser, [ref, ref.toLowerCase()])
  return row && userOf(row)
}

export async function listUsers(database: Database, { after = '', limit }: Page): Promise<User[]> {
  return (await database.report(userPage, [after, limit])).map(row => userOf(row))
}

/** The columns of a user, each under its own name with `prefix` before it. */
export function userColumns(table: string, prefix: string): string {
  return columns.map(column => `${table}.${column} as ${prefix}${column}`).join(', ')
}

export function userOf(row: Row, prefix = ''): User {
  return {
    id: text(row, `${prefix}id`),
    email: text(row, `${prefix}email`),
    concurrency: whole(row, `${prefix}concurrency`),
    requestsPerMinute: wholeOrNull(row, `${prefix}requests_per_minute`),
    tokensPerMinute: wholeOrNull(row, `${prefix}tokens_per_minute`),
    disabled: flag(row, `${prefix}disabled`),
    walletId: text(row, `${prefix}id`),
    createdAtMs: whole(row, `${prefix}created_at`),
  }
}

const columns = ['id', 'email', 'concurrency', 'requests_per_minute', 'tokens_per_minute', 'disabled', 'created_at']
const oneUser = statement(`select ${columns.join(', ')} from users where id = $1 or email = $2 limit 1`)
const userPage = statement(`select ${columns.join(', ')} from users where id > $1 order by id limit $2`)

const deleteWallet = `delete from wallets where user_id = $1 and balance = 0 and held = 0
  and not exists (select 1 from entries where wallet_id = wallets.id)
  and not exists (select 1 from holds where wallet_id = wallets.id)`
const deleteUser = `delete from users where id = $1
  and not exists (select 1 from keys where user_id = $1)
  and not exists (select 1 from subscriptions where user_id = $1)
  and not exists (select 1 from calls where user_id = $1)`

function recordOf(user: User): RowValues {
  return {
    id: user.id,
    email: user.email,
    concurrency: user.concurrency,
    requests_per_minute: user.requestsPerMinute,
    tokens_per_minute: user.tokensPerMinute,
    disabled: user.disabled ? 1 : 0,
    created_at: user.createdAtMs,
  }
}

import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { flag, json, text, whole, wholeOrNull } from './cells.ts'
import type { Key } from './entities.ts'
import { gathered, type Page, readMany } from './pages.ts'
import { hashOf, hintOf, newSecret } from './secrets.ts'
import { insertStep, type Made, type RowValues, step, updateStep } from './steps.ts'

/** What is said of a key when it is made. */
export type KeyDraft = Omit<Key, 'id' | 'hint' | 'createdAtMs'>

/** A new key and its secret, which is nowhere else: who is not told now will never know it. */
export function makeKey(draft: KeyDraft, nowMs: number): Made<Key> & { readonly secret: string } {
  const secret = newSecret()
  const entity: Key = { ...draft, id: newId(nowMs), hint: hintOf(secret), createdAtMs: nowMs }
  const record = { ...recordOf(entity), hash: hashOf(secret) }
  const insert = insertStep('keys', record, `This user has a key named "${draft.name}" already.`)
  return { entity, secret, steps: [insert, ...groupSteps(entity)] }
}

/** Replaces what was said of a key, its groups and their order included. The secret stays. */
export function changeKey(key: Key): Step[] {
  const sentence = `The key ${key.hint} cannot be saved: it was removed meanwhile, or its user has another one named "${key.name}".`
  return [updateStep('keys', recordOf(key), ['user_id', 'name'], sentence), leaveStep(key), ...groupSteps(key)]
}

/** A key may always go: a leaked one has to. Rows of its calls keep its id, and are found by whose it was. */
export function removeKey(key: Key): Step[] {
  const guard = { rows: 1, otherwise: `The key ${key.hint} was removed meanwhile.` }
  const remember = step('insert into removed_keys (id, user_id) values ($1, $2)', [key.id, key.userId])
  return [leaveStep(key), step('delete from keys where id = $1', [key.id], guard), remember]
}

export async function findKey(database: Database, id: string): Promise<Key | undefined> {
  return (await keysOf(database, await database.report(oneKey, [id])))[0]
}

/** Of one user, or of everybody. */
export async function listKeys(database: Database, { after = '', limit }: Page, userId?: string): Promise<Key[]> {
  const rows =
    userId === undefined ? await database.report(keyPage, [after, limit]) : await database.report(keyPageOfUser, [after, limit, userId])
  return keysOf(database, rows)
}

export const keyColumns = [
  'id',
  'user_id',
  'name',
  'hint',
  'concurrency',
  'requests_per_minute',
  'tokens_per_minute',
  'allow_addresses',
  'deny_addresses',
  'expires_at',
  'disabled',
  'created_at',
]

export function keyOf(row: Row, groupIds: readonly string[]): Key {
  return {
    id: text(row, 'id'),
    userId: text(row, 'user_id'),
    name: text(row, 'name'),
    hint: text(row, 'hint'),
    groupIds,
    concurrency: wholeOrNull(row, 'concurrency'),
    requestsPerMinute: wholeOrNull(row, 'requests_per_minute'),
    tokensPerMinute: wholeOrNull(row, 'tokens_per_minute'),
    allowAddresses: json<string[]>(row, 'allow_addresses'),
    denyAddresses: json<string[]>(row, 'deny_addresses'),
    expiresAtMs: wholeOrNull(row, 'expires_at'),
    disabled: flag(row, 'disabled'),
    createdAtMs: whole(row, 'created_at'),
  }
}

const columns = keyColumns.join(', ')
const oneKey = statement(`select ${columns} from keys where id = $1`)
const keyPage = statement(`select ${columns} from keys where id > $1 order by id limit $2`)
const keyPageOfUser = statement(`select ${columns} from keys where user_id = $3 and id > $1 order by id limit $2`)

async function keysOf(database: Database, rows: readonly Row[]): Promise<Key[]> {
  const ids = rows.map(row => text(row, 'id'))
  const groupIds = gathered(await readMany(database.report, groupsOfKeys, ids), 'key_id', 'group_id')
  return rows.map(row => keyOf(row, groupIds.get(text(row, 'id')) ?? []))
}

function groupsOfKeys(places: string): string {
  return `select key_id, group_id from key_groups where key_id in (${places}) order by key_id, position`
}

function recordOf(key: Key): RowValues {
  return {
    id: key.id,
    user_id: key.userId,
    name: key.name,
    hint: key.hint,
    concurrency: key.concurrency,
    requests_per_minute: key.requestsPerMinute,
    tokens_per_minute: key.tokensPerMinute,
    allow_addresses: JSON.stringify(key.allowAddresses),
    deny_addresses: JSON.stringify(key.denyAddresses),
    expires_at: key.expiresAtMs,
    disabled: key.disabled ? 1 : 0,
    created_at: key.createdAtMs,
  }
}

function groupSteps({ id, groupIds }: Key): Step[] {
  return groupIds.map((groupId, position) =>
    insertStep('key_groups', { key_id: id, group_id: groupId, position }, 'A key has a group only once.'),
  )
}

function leaveStep({ id }: Key): Step {
  return step('delete from key_groups where key_id = $1', [id])
}

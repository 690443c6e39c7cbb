import { formatDecimal, parseDecimal } from '../ledger/money.ts'
import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { text, whole, wholeOrNull, word } from './cells.ts'
import type { Group } from './entities.ts'
import type { Page } from './pages.ts'
import { insertStep, type Made, type RowValues, step, updateStep } from './steps.ts'

/** What an operator says of a group. */
export type GroupDraft = Omit<Group, 'id' | 'createdAtMs'>

export const waysOfPaying = ['balance', 'subscription'] as const
export const unpricedPolicies = ['refuse', 'free'] as const
export const clientLeftPolicies = ['drain', 'abort'] as const

export function makeGroup(draft: GroupDraft, nowMs: number): Made<Group> {
  const entity: Group = { ...draft, id: newId(nowMs), createdAtMs: nowMs }
  return { entity, steps: [insertStep('groups', recordOf(entity), `There is a group ${draft.name} already.`)] }
}

export function changeGroup(group: Group): Step[] {
  const sentence = `The group ${group.name} cannot be saved: it was removed meanwhile, or another group has this name.`
  return [updateStep('groups', recordOf(group), ['name'], sentence)]
}

/** Removes a group that no account, key or subscription is in, nor any code is for. Calls are asked about before: they are too many to look through here. */
export function removeGroup({ id, name }: Group): Step[] {
  const otherwise = `The group ${name} cannot be removed: accounts, keys, subscriptions or codes are in it.`
  return [step(deleteGroup, [id], { rows: 1, otherwise })]
}

/** Takes all accounts out of a group: it stays for its history, and serves nobody. */
export function emptyGroup({ id }: Group): Step[] {
  return [step('delete from account_groups where group_id = $1', [id])]
}

/** By id or by name; an id wins. */
export async function findGroup(database: Database, ref: string): Promise<Group | undefined> {
  const rows = (await database.report(oneGroup, [ref])).map(groupOf)
  return rows.find(group => group.id === ref) ?? rows[0]
}

export async function listGroups(database: Database, { after = '', limit }: Page): Promise<Group[]> {
  return (await database.report(groupPage, [after, limit])).map(groupOf)
}

/** All groups' names by id; there are few. */
export async function groupNamesOf(database: Database): Promise<Map<string, string>> {
  return new Map((await database.report(allNames)).map(row => [text(row, 'id'), text(row, 'name')]))
}

const columns = 'id, name, multiplier, pays, unpriced, on_client_left, first_event_limit_ms, created_at'
const oneGroup = statement(`select ${columns} from groups where id = $1 or name = $1`)
const allNames = statement('select id, name from groups order by name')
const groupPage = statement(`select ${columns} from groups where id > $1 order by id limit $2`)

const deleteGroup = `delete from groups where id = $1
  and not exists (select 1 from account_groups where group_id = $1)
  and not exists (select 1 from key_groups where group_id = $1)
  and not exists (select 1 from subscriptions where group_id = $1)
  and not exists (select 1 from codes where group_id = $1)`

function recordOf(group: Group): RowValues {
  return {
    id: group.id,
    name: group.name,
    multiplier: formatDecimal(group.multiplier),
    pays: group.pays,
    unpriced: group.unpriced,
    on_client_left: group.onClientLeft,
    first_event_limit_ms: group.firstEventLimitMs,
    created_at: group.createdAtMs,
  }
}

function groupOf(row: Row): Group {
  return {
    id: text(row, 'id'),
    name: text(row, 'name'),
    multiplier: parseDecimal(text(row, 'multiplier')),
    pays: word(row, 'pays', waysOfPaying),
    unpriced: word(row, 'unpriced', unpricedPolicies),
    onClientLeft: word(row, 'on_client_left', clientLeftPolicies),
    firstEventLimitMs: wholeOrNull(row, 'first_event_limit_ms'),
    createdAtMs: whole(row, 'created_at'),
  }
}

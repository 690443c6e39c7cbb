import { findAccount } from '../directory/accounts.ts'
import type { Account, Group, User } from '../directory/entities.ts'
import { findGroup, groupNamesOf } from '../directory/groups.ts'
import { readMany } from '../directory/pages.ts'
import { findUser } from '../directory/users.ts'
import type { AdminParts } from './ports.ts'
import { invalid, notFound } from './refusal.ts'
import { type Problem, placeOf } from './sentence.ts'

/** The thing that a path names, or a 404 that names it. */
export async function groupNamed({ database }: Pick<AdminParts, 'database'>, ref: string): Promise<Group> {
  return found('group', ref, await findGroup(database, ref))
}

export async function accountNamed({ database, seal }: Pick<AdminParts, 'database' | 'seal'>, ref: string): Promise<Account> {
  return found('account', ref, await findAccount(database, seal, ref))
}

export async function userNamed({ database }: Pick<AdminParts, 'database'>, ref: string): Promise<User> {
  return found('user', ref, await findUser(database, ref))
}

/** The user that a body names in its field `user`. */
export async function userInBody({ database }: Pick<AdminParts, 'database'>, ref: string): Promise<User> {
  const user = await findUser(database, ref)
  if (user === undefined) throw invalid([{ path: ['user'], message: `user names ${JSON.stringify(ref)}, and there is no such user.` }])
  return user
}

/** Group ids by name, and by themselves, so that either can be said. */
export function groupIdsBy(groups: Iterable<Pick<Group, 'id' | 'name'>>): Map<string, string> {
  const ids = new Map<string, string>()
  for (const { id, name } of groups) ids.set(id, id).set(name, id)
  return ids
}

/** The ids of the groups that a list at `path` names, each once; a name that is none becomes a problem. */
export function groupIdsOf(
  refs: readonly string[],
  ids: ReadonlyMap<string, string>,
  path: Problem['path'],
  problems: Problem[],
): string[] {
  const known = refs.flatMap((ref, index) => {
    const id = ids.get(ref)
    if (id === undefined) problems.push(unknownGroup(ref, ids, [...path, index]))
    return id ?? []
  })
  return [...new Set(known)]
}

/** The ids of the groups that a body names in its field `groups`. */
export async function groupsInBody({ database }: Pick<AdminParts, 'database'>, refs: readonly string[]): Promise<string[]> {
  const problems: Problem[] = []
  const groups = [...(await groupNamesOf(database))].map(([id, name]) => ({ id, name }))
  const ids = groupIdsOf(refs, groupIdsBy(groups), ['groups'], problems)
  if (problems.length > 0) throw invalid(problems)
  return ids
}

/** What the things with these ids are called, for lists of what belongs to them. */
export async function labelsOf({ database }: Pick<AdminParts, 'database'>, kind: keyof typeof labels, ids: readonly (string | null)[]) {
  const known = ids.filter(id => id !== null)
  const rows = await readMany(database.report, places => `${labels[kind]} where id in (${places})`, [...new Set(known)])
  return new Map(rows.map(row => [String(row.id), String(row.label)]))
}

const labels = {
  user: 'select id, email as label from users',
  account: 'select id, name as label from accounts',
  key: 'select id, name as label from keys',
  group: 'select id, name as label from groups',
} as const

const namesShown = 20

function unknownGroup(ref: string, ids: ReadonlyMap<string, string>, path: Problem['path']): Problem {
  const names = [...ids].filter(([name, id]) => name !== id).map(([name]) => name)
  const rest = names.length > namesShown ? ' and more' : ''
  const known = names.length === 0 ? 'there is no group yet' : `there are ${names.slice(0, namesShown).join(', ')}${rest}`
  return { path, message: `${placeOf(path)} names the group ${JSON.stringify(ref)}, which does not exist; ${known}.` }
}

function found<Thing>(kind: string, ref: string, thing: Thing | undefined): Thing {
  if (thing === undefined) throw notFound(kind, ref)
  return thing
}

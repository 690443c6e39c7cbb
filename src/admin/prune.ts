import { changeAccount, removeAccount } from '../directory/accounts.ts'
import type { Account, Group, User } from '../directory/entities.ts'
import { emptyGroup, removeGroup } from '../directory/groups.ts'
import { everything } from '../directory/pages.ts'
import { endLine, lineOf } from '../directory/price-line.ts'
import { referencesTo } from '../directory/references.ts'
import { changeUser, listUsers, removeUser } from '../directory/users.ts'
import { type Planned, type Present, priceName } from './plan.ts'
import type { AdminParts } from './ports.ts'
import type { Setup } from './setup.ts'

/**
 * What goes because the setup does not name it. Only sections that the setup has are pruned.
 *
 * Nothing that the books refer to is ever removed. An account or a user with a past is disabled instead; a group with a past
 * is emptied of its accounts, which serves nobody; a price ends, and its versions stay. Keys and subscriptions are not part of
 * a setup and stay as they are.
 */
export async function pruneOf(setup: Setup, present: Present, parts: AdminParts): Promise<Planned[]> {
  const planned: Planned[] = []
  for (const account of without(
    present.accounts,
    setup.accounts?.map(one => one.name),
    one => one.name,
  ))
    planned.push(await pruneAccount(account, parts))
  for (const group of without(
    present.groups,
    setup.groups?.map(one => one.name),
    one => one.name,
  ))
    planned.push(await pruneGroup(group, present, parts))
  const users = setup.users === undefined ? [] : await everything(page => listUsers(parts.database, page))
  for (const user of without(
    users,
    setup.users?.map(one => one.email),
    one => one.email,
  ))
    planned.push(await pruneUser(user, parts))
  const gone = without(present.book.standing, setup.prices?.map(lineOf), lineOf)
  for (const versions of Map.groupBy(gone, lineOf).values()) {
    const change = { kind: 'price', name: priceName(versions[0]!), action: 'removed' } as const
    planned.push({ change, steps: [], line: endLine(versions, parts.clock.nowMs()) })
  }
  return planned
}

/** Those that a section does not name; nobody when the setup has no such section. */
function without<One>(present: readonly One[], named: readonly string[] | undefined, nameOf: (one: One) => string): One[] {
  const names = new Set(named)
  return named === undefined ? [] : present.filter(one => !names.has(nameOf(one)))
}

async function pruneAccount(account: Account, { database, seal }: AdminParts): Promise<Planned> {
  const name = { kind: 'account', name: account.name } as const
  const references = await referencesTo(database, 'account', account.id)
  if (references.length === 0) return { change: { ...name, action: 'removed' }, steps: removeAccount(account) }
  if (account.disabled) return { change: { ...name, action: 'unchanged' }, steps: [] }
  return { change: { ...name, action: 'changed', fields: disabling }, steps: changeAccount({ ...account, disabled: true }, seal) }
}

async function pruneGroup(group: Group, { accounts }: Present, { database }: AdminParts): Promise<Planned> {
  const name = { kind: 'group', name: group.name } as const
  const references = await referencesTo(database, 'group', group.id)
  if (references.every(word => word === 'accounts'))
    return { change: { ...name, action: 'removed' }, steps: [...emptyGroup(group), ...removeGroup(group)] }
  const members = accounts.filter(account => account.groupIds.includes(group.id)).map(account => account.name)
  if (members.length === 0) return { change: { ...name, action: 'unchanged' }, steps: [] }
  return { change: { ...name, action: 'changed', fields: { accounts: { from: members, to: [] } } }, steps: emptyGroup(group) }
}

async function pruneUser(user: User, { database }: AdminParts): Promise<Planned> {
  const name = { kind: 'user', name: user.email } as const
  const references = await referencesTo(database, 'user', user.id)
  if (references.length === 0) return { change: { ...name, action: 'removed' }, steps: removeUser(user) }
  if (user.disabled) return { change: { ...name, action: 'unchanged' }, steps: [] }
  return { change: { ...name, action: 'changed', fields: disabling }, steps: changeUser({ ...user, disabled: true }) }
}

const disabling = { disabled: { from: false, to: true } }

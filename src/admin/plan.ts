import { isDeepStrictEqual } from 'node:util'
import { changeAccount, listAccounts, makeAccount } from '../directory/accounts.ts'
import type { Account, Group } from '../directory/entities.ts'
import { changeGroup, listGroups, makeGroup } from '../directory/groups.ts'
import { everything } from '../directory/pages.ts'
import { type LineChange, placePrice } from '../directory/price-line.ts'
import { type BookRead, readBook, sameLine } from '../directory/prices.ts'
import { changeUser, findUser, makeUser } from '../directory/users.ts'
import type { PriceVersion } from '../ledger/price.ts'
import type { Step } from '../storage/database.ts'
import {
  accountOfSetup,
  apiKeyHint,
  groupOfSetup,
  priceOfSetup,
  setupOfAccount,
  setupOfGroup,
  setupOfPrice,
  setupOfUser,
  userOfSetup,
} from './entities.ts'
import { groupIdsBy, groupIdsOf } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { nameProblems } from './price-lines.ts'
import { invalid } from './refusal.ts'
import { type Problem, placeOf } from './sentence.ts'
import type { Setup, SetupAccount, SetupGroup, SetupPrice, SetupUser } from './setup.ts'

/** What an apply does to one thing. */
export interface Change {
  readonly kind: 'group' | 'account' | 'user' | 'price'
  readonly name: string
  readonly action: 'made' | 'changed' | 'unchanged' | 'removed'
  /** Of a changed thing: what each field was, and what it is. */
  readonly fields?: Fields
}

export type Fields = Readonly<{ [field: string]: { readonly from: unknown; readonly to: unknown } }>

/** A change, and what makes it: steps of its own, or its part in the one change of the price book. */
export interface Planned {
  readonly change: Change
  readonly steps: readonly Step[]
  readonly line?: LineChange
}

/** What there is before an apply. Users are looked up one by one: they may be very many. */
export interface Present {
  readonly groups: readonly Group[]
  readonly accounts: readonly Account[]
  readonly book: BookRead
}

export async function readPresent({ database, seal, clock }: AdminParts): Promise<Present> {
  const groups = await everything(page => listGroups(database, page))
  const accounts = await everything(page => listAccounts(database, seal, page))
  return { groups, accounts, book: await readBook(database, clock.nowMs()) }
}

/**
 * Everything that makes the installation as the setup says, in an order that the books accept. Refuses a setup that does not
 * fit; with `prune` an account may only be in groups that the setup has, because the others are about to go.
 */
export async function planOf(setup: Setup, present: Present, prune: boolean, parts: AdminParts): Promise<Planned[]> {
  const groups = planGroups(setup.groups ?? [], present, parts)
  const named = new Set(setup.groups?.map(one => one.name))
  const staying = prune && setup.groups !== undefined ? groups.after.filter(group => named.has(group.name)) : groups.after
  const accounts = planAccounts(setup.accounts ?? [], { accounts: present.accounts, groups: staying, groupsBefore: present.groups }, parts)
  const users = await planUsers(setup.users ?? [], parts)
  const prices = planPrices(setup.prices ?? [], present, parts)
  return [...groups.planned, ...accounts, ...users, ...prices]
}

function planGroups(wanted: readonly SetupGroup[], { groups }: Present, { clock }: AdminParts): { planned: Planned[]; after: Group[] } {
  const after = new Map(groups.map(group => [group.name, group]))
  const planned = wanted.map(said => {
    const draft = groupOfSetup(said)
    const group = after.get(said.name)
    if (group === undefined) {
      const { entity, steps } = makeGroup(draft, clock.nowMs())
      after.set(said.name, entity)
      return madeOne('group', said.name, steps)
    }
    const changed = { ...group, ...draft }
    return changedOne('group', said.name, differences(setupOfGroup(group), setupOfGroup(changed)), () => changeGroup(changed))
  })
  return { planned, after: [...after.values()] }
}

interface Around {
  readonly accounts: readonly Account[]
  /** Those that an account may be in. */
  readonly groups: readonly Group[]
  readonly groupsBefore: readonly Group[]
}

function planAccounts(wanted: readonly SetupAccount[], { accounts, groups, groupsBefore }: Around, { seal, clock }: AdminParts): Planned[] {
  const problems: Problem[] = []
  const ids = groupIdsBy(groups)
  const names = new Map([...groupsBefore, ...groups].map(group => [group.id, group.name]))
  const planned = wanted.map((said, index) => {
    const account = accounts.find(one => one.name === said.name)
    const path = ['setup', 'accounts', index]
    const groupIds = groupIdsOf(said.groups, ids, [...path, 'groups'], problems)
    const apiKey = said.apiKey ?? account?.apiKey
    if (apiKey === undefined) {
      const message = `${placeOf([...path, 'apiKey'])} is missing; ${said.name} is a new account, which needs one.`
      problems.push({ path: [...path, 'apiKey'], message })
    }
    const draft = accountOfSetup(said, groupIds, apiKey ?? '')
    if (account === undefined) return madeOne('account', said.name, makeAccount(draft, seal, clock.nowMs()).steps)
    const changed = { ...account, ...draft, disabled: said.disabled ?? account.disabled }
    return changedOne('account', said.name, accountDifferences(account, changed, names), () => changeAccount(changed, seal))
  })
  if (problems.length > 0) throw invalid(problems)
  return planned
}

/** Of its key no more is told than its end. */
function accountDifferences(before: Account, after: Account, names: ReadonlyMap<string, string>): Fields {
  const fields = differences(setupOfAccount(before, names), setupOfAccount(after, names))
  if (before.apiKey === after.apiKey) return fields
  return { ...fields, apiKey: { from: apiKeyHint(before.apiKey), to: apiKeyHint(after.apiKey) } }
}

async function planUsers(wanted: readonly SetupUser[], { database, clock }: AdminParts): Promise<Planned[]> {
  const planned: Planned[] = []
  for (const said of wanted) {
    const draft = userOfSetup(said)
    const user = await findUser(database, said.email)
    if (user === undefined) planned.push(madeOne('user', said.email, makeUser(draft, clock.nowMs()).steps))
    else {
      const changed = { ...user, ...draft, disabled: said.disabled ?? user.disabled }
      planned.push(changedOne('user', said.email, differences(setupOfUser(user), setupOfUser(changed)), () => changeUser(changed)))
    }
  }
  return planned
}

/** A setup says what holds from now on, until whatever else is planned. */
function planPrices(wanted: readonly SetupPrice[], { book: { standing } }: Present, { clock }: AdminParts): Planned[] {
  const drafts = wanted.map(priceOfSetup)
  const problems = nameProblems(drafts, standing, index => ['setup', 'prices', index])
  if (problems.length > 0) throw invalid(problems)
  const fromMs = clock.nowMs()
  return drafts.map(draft => {
    const versions = sameLine(standing, draft)
    const running = versions.find(version => version.effectiveFromMs <= fromMs)
    const name = priceName(draft)
    const line = placePrice(draft, { fromMs }, versions)
    if (running === undefined) return { ...madeOne('price', name, []), line }
    const planned = changedOne('price', name, differences(setupOfPrice(running), setupOfPrice(draft)), () => [])
    return planned.change.action === 'unchanged' ? planned : { ...planned, line }
  })
}

/** "gpt-5", or with what makes the line another one: "gpt-5 flex over 200000". */
export function priceName({ model, tier, contextOver }: Pick<PriceVersion, 'model' | 'tier' | 'contextOver'>): string {
  return `${model}${tier === 'default' ? '' : ` ${tier}`}${contextOver === 0 ? '' : ` over ${contextOver}`}`
}

function madeOne(kind: Change['kind'], name: string, steps: readonly Step[]): Planned {
  return { change: { kind, name, action: 'made' }, steps }
}

function changedOne(kind: Change['kind'], name: string, fields: Fields, steps: () => readonly Step[]): Planned {
  if (Object.keys(fields).length === 0) return { change: { kind, name, action: 'unchanged' }, steps: [] }
  return { change: { kind, name, action: 'changed', fields }, steps: steps() }
}

export function differences(before: object, after: object): Fields {
  const was = new Map(Object.entries(before))
  const changed = Object.entries(after).filter(([field, value]) => !isDeepStrictEqual(value, was.get(field)))
  return Object.fromEntries(changed.map(([field, to]) => [field, { from: was.get(field), to }]))
}

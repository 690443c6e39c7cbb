import { newId } from '../lib/id.ts'
import { type Database, type Row, type Step, statement } from '../storage/database.ts'
import { flag, json, text, textOrNull, whole, wholeOrNull, word } from './cells.ts'
import { type Account, type Capabilities, defaultCapabilities } from './entities.ts'
import { gathered, type Page, readMany } from './pages.ts'
import { NotUnsealed, type Seal } from './seal.ts'
import { insertStep, type Made, type RowValues, step, updateStep } from './steps.ts'

/** What an operator says of an account. */
export type AccountDraft = Omit<Account, 'id' | 'createdAtMs'>

export const providers = ['openai'] as const

export function makeAccount(draft: AccountDraft, seal: Seal, nowMs: number): Made<Account> {
  const entity: Account = { ...draft, id: newId(nowMs), createdAtMs: nowMs }
  const insert = insertStep('accounts', recordOf(entity, seal), `There is an account ${draft.name} already.`)
  return { entity, steps: [insert, ...joinSteps(entity)] }
}

/** Replaces what an operator said of an account, its groups included. */
export function changeAccount(account: Account, seal: Seal): Step[] {
  const sentence = `The account ${account.name} cannot be saved: it was removed meanwhile, or another account has this name.`
  return [updateStep('accounts', recordOf(account, seal), ['name'], sentence), leaveStep(account), ...joinSteps(account)]
}

/** Removes an account that answered no call. Attempts are asked about before: they are too many to look through here. */
export function removeAccount(account: Account): Step[] {
  const otherwise = `The account ${account.name} cannot be removed: calls refer to it. Disable it instead.`
  return [leaveStep(account), step(deleteAccount, [account.id], { rows: 1, otherwise })]
}

/** By id or by name; an id wins. Throws when its credential does not unseal. */
export async function findAccount(database: Database, seal: Seal, ref: string): Promise<Account | undefined> {
  const accounts = await accountsOf(database, seal, await database.report(oneAccount, [ref]))
  return accounts.find(account => account.id === ref) ?? accounts[0]
}

/** Throws when a credential does not unseal, naming the account. */
export async function listAccounts(database: Database, seal: Seal, { after = '', limit }: Page): Promise<Account[]> {
  return accountsOf(database, seal, await database.report(accountPage, [after, limit]))
}

const columns = `id, name, provider, base_url, api_key_sealed, concurrency, priority, weight, models, capabilities, proxy,
  allow_private_address, default_tier, requests_per_minute, tokens_per_minute, organization, disabled, created_at`
const oneAccount = statement(`select ${columns} from accounts where id = $1 or name = $1`)
const accountPage = statement(`select ${columns} from accounts where id > $1 order by id limit $2`)

const deleteAccount = `delete from accounts where id = $1
  and not exists (select 1 from account_days where account_id = $1)`

async function accountsOf(database: Database, seal: Seal, rows: readonly Row[]): Promise<Account[]> {
  const ids = rows.map(row => text(row, 'id'))
  const memberships = await readMany(database.report, membershipsOf, ids)
  const groupIds = gathered(memberships, 'account_id', 'group_id')
  return rows.map(row => accountOf(row, groupIds.get(text(row, 'id')) ?? [], seal))
}

function membershipsOf(places: string): string {
  return `select account_id, group_id from account_groups where account_id in (${places}) order by account_id, group_id`
}

function recordOf(account: Account, seal: Seal): RowValues {
  return {
    id: account.id,
    name: account.name,
    provider: account.provider,
    base_url: account.baseUrl,
    api_key_sealed: seal.seal(account.apiKey, identityOf(account.id)),
    concurrency: account.concurrency,
    priority: account.priority,
    weight: account.weight,
    models: JSON.stringify(account.models),
    capabilities: JSON.stringify(account.capabilities),
    proxy: account.proxy,
    allow_private_address: account.allowPrivateAddress ? 1 : 0,
    default_tier: account.defaultTier,
    requests_per_minute: account.requestsPerMinute,
    tokens_per_minute: account.tokensPerMinute,
    organization: account.organization,
    disabled: account.disabled ? 1 : 0,
    created_at: account.createdAtMs,
  }
}

function accountOf(row: Row, groupIds: readonly string[], seal: Seal): Account {
  return {
    id: text(row, 'id'),
    name: text(row, 'name'),
    provider: word(row, 'provider', providers),
    baseUrl: text(row, 'base_url'),
    apiKey: unsealed(row, seal),
    concurrency: whole(row, 'concurrency'),
    priority: whole(row, 'priority'),
    weight: whole(row, 'weight'),
    groupIds,
    models: json<Readonly<{ [requested: string]: string }>>(row, 'models'),
    capabilities: { ...defaultCapabilities, ...json<Partial<Capabilities>>(row, 'capabilities') },
    proxy: textOrNull(row, 'proxy'),
    allowPrivateAddress: flag(row, 'allow_private_address'),
    defaultTier: text(row, 'default_tier'),
    requestsPerMinute: wholeOrNull(row, 'requests_per_minute'),
    tokensPerMinute: wholeOrNull(row, 'tokens_per_minute'),
    organization: textOrNull(row, 'organization'),
    disabled: flag(row, 'disabled'),
    createdAtMs: whole(row, 'created_at'),
  }
}

function unsealed(row: Row, seal: Seal): string {
  try {
    return seal.unseal(text(row, 'api_key_sealed'), identityOf(text(row, 'id')))
  } catch (cause) {
    throw new NotUnsealed(
      `The API key of the account ${text(row, 'name')} does not open: it was sealed with another secret key, or its row was changed by hand. ` +
        'Start with the secret key that sealed it (HEADGATE_SECRET_KEY, or secret.key in the data folder).',
      { cause },
    )
  }
}

function identityOf(id: string): string {
  return `account:${id}:api_key`
}

function joinSteps({ id, groupIds }: Account): Step[] {
  return groupIds.map(groupId => insertStep('account_groups', { account_id: id, group_id: groupId }, 'An account is in a group only once.'))
}

function leaveStep({ id }: Account): Step {
  return step('delete from account_groups where account_id = $1', [id])
}

import { createRoute, z } from '@hono/zod-openapi'
import { changeAccount, listAccounts, makeAccount, removeAccount } from '../directory/accounts.ts'
import type { Account } from '../directory/entities.ts'
import { groupNamesOf } from '../directory/groups.ts'
import { referencesTo } from '../directory/references.ts'
import { conditionSchema, conditionView } from './condition.ts'
import { accountOfSetup, apiKeyHint, setupOfAccount, timeText, withChanges } from './entities.ts'
import { baseUrlProblem } from './fields.ts'
import { accountNamed, groupsInBody } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { invalid, Refusal } from './refusal.ts'
import { body, listQuery, made, ok, pageAsked, pageOf, pageSchema, refParams, removedSchema, routes } from './routes.ts'
import { accountChangeSchema, accountSchema, capability, type SetupAccount } from './setup.ts'
import { save } from './writing.ts'

/** Credentials at upstreams, and how they fare. */
export function accountRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const query = context.req.valid('query')
      const accounts = await listAccounts(parts.database, parts.seal, pageAsked(query))
      const views = new Map((await viewsOf(accounts, parts)).map(view => [view.id, view]))
      return context.json(
        pageOf(accounts, query.limit, account => views.get(account.id)!),
        200,
      )
    })
    .openapi(make, async context => context.json(await makeOne(context.req.valid('json'), parts), 201))
    .openapi(show, async context => context.json(await viewOf(await accountNamed(parts, context.req.valid('param').ref), parts), 200))
    .openapi(change, async context => {
      const account = await accountNamed(parts, context.req.valid('param').ref)
      return context.json(await changeOne(account, context.req.valid('json'), parts), 200)
    })
    .openapi(remove, async context => {
      const account = await accountNamed(parts, context.req.valid('param').ref)
      const references = await referencesTo(parts.database, 'account', account.id)
      if (references.length > 0) throw new Refusal(409, 'in_use', inUse(account.name, references))
      await save(parts, removeAccount(account), [{ what: 'removed', target: `account ${account.name}` }])
      return context.json({ removed: account.id }, 200)
    })
}

/** The view of one account as it fares now. */
export async function viewOf(account: Account, parts: AdminParts): Promise<AccountView> {
  const [view] = await viewsOf([account], parts)
  return view!
}

export const accountViewSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    provider: z.literal('openai'),
    baseUrl: z.string(),
    apiKeyHint: z.string().describe('The end of the API key, which is itself never told.'),
    groups: z.array(z.string()),
    concurrency: z.number(),
    priority: z.number(),
    weight: z.number(),
    models: z.record(z.string(), z.string()),
    capabilities: z.object(capability),
    proxy: z.string().nullable(),
    allowPrivateAddress: z.boolean(),
    defaultTier: z.string(),
    requestsPerMinute: z.number().nullable(),
    tokensPerMinute: z.number().nullable(),
    organization: z.string().nullable(),
    disabled: z.boolean(),
    createdAt: z.string(),
    condition: conditionSchema,
  })
  .openapi('Account')

type AccountView = z.input<typeof accountViewSchema>

const tags = ['accounts']
const list = createRoute({
  method: 'get',
  path: '/accounts',
  tags,
  request: { query: listQuery },
  responses: ok('Accounts by age.', pageSchema(accountViewSchema)),
})
const make = createRoute({
  method: 'post',
  path: '/accounts',
  tags,
  request: { body: body(accountSchema) },
  responses: made('The account.', accountViewSchema),
})
const show = createRoute({
  method: 'get',
  path: '/accounts/{ref}',
  tags,
  request: { params: refParams },
  responses: ok('The account.', accountViewSchema),
})
const change = createRoute({
  method: 'patch',
  path: '/accounts/{ref}',
  tags,
  description: 'Changes the fields that the body has. A lowered limit binds new calls only; a disabled account finishes what it runs.',
  request: { params: refParams, body: body(accountChangeSchema) },
  responses: ok('The account as it is now.', accountViewSchema),
})
const remove = createRoute({
  method: 'delete',
  path: '/accounts/{ref}',
  tags,
  description: 'Removes an account that no call refers to. Any other can only be disabled.',
  request: { params: refParams },
  responses: ok('It is gone.', removedSchema),
})

async function makeOne(said: SetupAccount, parts: AdminParts): Promise<AccountView> {
  if (said.apiKey === undefined) throw invalid([{ path: ['apiKey'], message: 'apiKey is missing; a new account needs one.' }])
  const draft = accountOfSetup(said, await groupsInBody(parts, said.groups), said.apiKey)
  const { entity, steps } = makeAccount(draft, parts.seal, parts.clock.nowMs())
  await save(parts, steps, [{ what: 'made', target: `account ${entity.name}` }])
  return viewOf(entity, parts)
}

async function changeOne(account: Account, changes: z.output<typeof accountChangeSchema>, parts: AdminParts): Promise<AccountView> {
  const before = setupOfAccount(account, await groupNamesOf(parts.database))
  const capabilities = withChanges(before.capabilities, changes.capabilities ?? {})
  const said: SetupAccount = { ...withChanges<SetupAccount>(before, changes), capabilities }
  const problem = baseUrlProblem(said.baseUrl, said.allowPrivateAddress)
  if (problem !== undefined) throw invalid([{ path: ['baseUrl'], message: `baseUrl ${problem}.` }])
  const changed = { ...account, ...accountOfSetup(said, await groupsInBody(parts, said.groups), account.apiKey) }
  await save(parts, changeAccount(changed, parts.seal), [{ what: 'changed', target: `account ${account.name}` }])
  return viewOf(changed, parts)
}

/** Field by field, so that a new secret of an account could never get out by itself. */
async function viewsOf(accounts: readonly Account[], { database, pool, clock }: AdminParts): Promise<AccountView[]> {
  const names = await groupNamesOf(database)
  const conditions = await pool.conditions(accounts.map(account => account.id))
  const nowMs = clock.nowMs()
  return accounts.map((account, index) => ({
    id: account.id,
    ...setupOfAccount(account, names),
    apiKeyHint: apiKeyHint(account.apiKey),
    createdAt: timeText(account.createdAtMs),
    condition: conditionView(account, conditions[index]!, nowMs),
  }))
}

function inUse(name: string, references: readonly string[]): string {
  return `The account ${name} cannot be removed, because ${references.join(', ')} refer to it. Disable it instead: it finishes what it runs.`
}

import { createRoute, z } from '@hono/zod-openapi'
import { formatUsd } from '../ledger/money.ts'
import { conditionSchema, conditionView } from './condition.ts'
import type { AdminParts } from './ports.ts'
import { ok, routes } from './routes.ts'

/** How everything fares now, and whether the books balance. */
export function statusRoutes(parts: AdminParts) {
  return routes()
    .openapi(status, async context => {
      const { pool, directory, clock, version } = parts
      const accounts = [...directory.snapshot().accounts.values()]
      const [nodes, conditions] = await Promise.all([pool.nodes(), pool.conditions(accounts.map(account => account.id))])
      const nowMs = clock.nowMs()
      const fares = accounts.map((account, index) => ({ name: account.name, ...conditionView(account, conditions[index]!, nowMs) }))
      return context.json({ version, nodes: [...nodes], accounts: fares }, 200)
    })
    .openapi(check, async context => {
      const differences = await parts.ledger.check()
      const views = differences.map(({ subject, id, recorded, recomputed, says }) => ({
        subject,
        id,
        recorded: formatUsd(recorded),
        recomputed: formatUsd(recomputed),
        says,
      }))
      return context.json({ differences: views }, 200)
    })
}

const statusSchema = z
  .object({
    version: z.string(),
    nodes: z
      .array(
        z.object({
          id: z.string(),
          host: z.string().describe('The name of its machine.'),
          version: z.string(),
          uptimeMs: z.number(),
          heardMsAgo: z.number().describe('The rest of this line is as old; 0 for the one that answers.'),
          callsInFlight: z.number(),
          callsWaiting: z.number(),
          drains: z.number().describe('Answers that are read on although their client left.'),
        }),
      )
      .describe('All that live and share the books, the one that answers first.'),
    accounts: z.array(conditionSchema.extend({ name: z.string() })),
  })
  .openapi('Status')

const status = createRoute({ method: 'get', path: '/status', tags: ['status'], responses: ok('How everything fares now.', statusSchema) })

const checkSchema = z
  .object({
    differences: z.array(
      z.object({
        subject: z.enum(['wallet', 'hold', 'window', 'entry', 'call']),
        id: z.string(),
        recorded: z.string(),
        recomputed: z.string(),
        says: z.string(),
      }),
    ),
  })
  .openapi('LedgerCheck')
const check = createRoute({
  method: 'get',
  path: '/ledger/check',
  tags: ['ledger'],
  description: 'Reckons every sum in the books anew. Reads all of them.',
  responses: ok('What differs: nothing, when all is well.', checkSchema),
})

import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { accountCareRoutes } from './account-care.ts'
import { accountRoutes } from './accounts.ts'
import { applyRoutes } from './apply.ts'
import { codeRoutes } from './codes.ts'
import { groupRoutes } from './groups.ts'
import { keyRoutes } from './keys.ts'
import type { AdminParts } from './ports.ts'
import { priceProposalRoutes } from './price-proposal.ts'
import { priceRoutes } from './prices.ts'
import { reconcileRoutes } from './reconcile.ts'
import { refundRoutes } from './refunds.ts'
import { answerTo, Refusal } from './refusal.ts'
import { basePath, routes } from './routes.ts'
import { statusRoutes } from './status.ts'
import { subscriptionRoutes } from './subscriptions.ts'
import { isToken } from './token.ts'
import { usageRoutes } from './usage.ts'
import { userRoutes } from './users.ts'
import { walletRoutes } from './wallets.ts'
import { oneWriteAtATime } from './writing.ts'

export interface Admin {
  /** Answers every request below `basePath`; never rejects. */
  fetch(request: Request): Promise<Response>
}

const money = [refundRoutes, priceRoutes, priceProposalRoutes, subscriptionRoutes, codeRoutes, reconcileRoutes]

const bodyBytesMax = 16 * 1024 * 1024

/** The control plane. Its routes are described by the document at GET /admin/v1/openapi.json. */
export function openAdmin(parts: AdminParts): Admin {
  const app = routes().basePath(basePath)
  app.use(asksForToken(parts.token))
  app.use(bodyLimit({ maxSize: bodyBytesMax, onError: tooLarge }))
  app.use(oneWriteAtATime())
  for (const resource of [groupRoutes, accountRoutes, accountCareRoutes, userRoutes, keyRoutes, walletRoutes])
    app.route('/', resource(parts))
  for (const resource of [...money, applyRoutes, usageRoutes, statusRoutes]) app.route('/', resource(parts))
  app.openAPIRegistry.registerComponent('securitySchemes', 'adminToken', { type: 'http', scheme: 'bearer' })
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: { title: 'Headgate admin API', version: parts.version },
    security: [{ adminToken: [] }],
  })
  app.onError((error, context) => answerTo(error, context, parts.log))
  app.notFound(context => {
    const { method, path } = context.req
    const refusal = new Refusal(404, 'not_found', `There is no ${method} ${path}; GET ${basePath}/openapi.json lists everything there is.`)
    return answerTo(refusal, context, parts.log)
  })
  return { fetch: async request => app.fetch(request) }
}

function asksForToken(token: string): MiddlewareHandler {
  return async (context, next) => {
    const presented = /^Bearer +(\S+) *$/i.exec(context.req.header('authorization') ?? '')?.[1]
    if (presented === undefined || !isToken(presented, token)) {
      const where = 'HEADGATE_ADMIN_TOKEN, or the file admin.token in the data folder'
      throw new Refusal(401, 'unauthorized', `The admin API asks for "authorization: Bearer …" with the admin token (${where}).`)
    }
    await next()
  }
}

function tooLarge(): never {
  throw new Refusal(413, 'too_large', `The body is larger than ${bodyBytesMax / 1024 / 1024} MiB; apply a setup in several parts.`)
}

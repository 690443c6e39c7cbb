import pg from 'pg'
import { openPostgres, type PostgresDatabase } from '../src/storage/postgres.ts'
import { type Cluster, startCluster } from './postgres.ts'

/** One server for all the tests of a file, started when the first of them wants it. */
export function theCluster(): Promise<Cluster> {
  return (starting ??= startCluster())
}

let starting: Promise<Cluster> | undefined

export async function stopCluster(): Promise<void> {
  const cluster = await starting
  starting = undefined
  await cluster?.[Symbol.asyncDispose]()
}

/** With one connection commands land in the order of asking, which is what tests of order want. */
export async function openPostgresAt(path: string, connections = 1): Promise<PostgresDatabase> {
  return openPostgres({ url: await urlAt(path), connections, statementTimeoutMs: 10_000 })
}

/** A schema of its own for each path. */
export async function urlAt(path: string): Promise<string> {
  const cluster = await theCluster()
  const schema = `books_${path.replaceAll(/\W+/g, '_').toLowerCase()}`.slice(0, 63)
  const client = new pg.Client(cluster.adminUrl)
  await client.connect()
  await client.query(`create schema if not exists ${schema}`)
  await client.end()
  return cluster.url(schema)
}

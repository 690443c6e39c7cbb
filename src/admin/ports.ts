import type { Condition } from '../coordination/coordinator.ts'
import type { Account } from '../directory/entities.ts'
import type { Seal } from '../directory/seal.ts'
import type { Directory } from '../directory/snapshot.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Clock } from '../lib/clock.ts'
import type { Database } from '../storage/database.ts'

/** What the control plane works with, assembled once, in main.ts. */
export interface AdminParts {
  readonly database: Database
  readonly directory: Pick<Directory, 'snapshot' | 'refresh'>
  readonly ledger: Pick<Ledger, 'free' | 'windows' | 'credit' | 'debit' | 'adjust' | 'refund' | 'entriesOf' | 'check'>
  readonly seal: Seal
  readonly clock: Clock
  readonly pool: Pool
  readonly log: AdminLog
  /** What callers must present. */
  readonly token: string
  readonly version: string
}

/** What the control plane wants of the data plane. */
export interface Pool {
  /** In the order asked. */
  conditions(accountIds: readonly string[]): Promise<readonly Condition[]>
  /** One small call to this account, which nobody pays for; `model` is the name a client would use. */
  testAccount(account: Account, model?: string): Promise<AccountTest>
  restAccount(accountId: string, untilMs: number, why: string): Promise<void>
  /** Ends every rest and forgets its faults. */
  resumeAccount(accountId: string): Promise<void>
  /** This gateway, and all others that it knows of. */
  nodes(): Promise<readonly NodeNow[]>
}

export interface AccountTest {
  readonly ok: boolean
  /** The upstream's; null when it did not answer. */
  readonly status: number | null
  /** The upstream's name of the model that was asked, or null when none was needed. */
  readonly model: string | null
  /** What happened, for a person. Never contains the credential. */
  readonly message: string
  readonly durationMs: number
}

/** One gateway as it fares now, or did when it was last heard. */
export interface NodeNow {
  readonly id: string
  /** The name of its machine. */
  readonly host: string
  readonly version: string
  readonly uptimeMs: number
  readonly heardMsAgo: number
  readonly callsInFlight: number
  readonly callsWaiting: number
  /** Answers that are read on although their client left. */
  readonly drains: number
}

/** One line for each write: who, what, to what. Secrets and bodies never. */
export interface AdminLog {
  wrote(line: { readonly who: string; readonly what: string; readonly target: string }): void
  failed(error: Error, where: string): void
}

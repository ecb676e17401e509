/**
 * Errors are data. Every expected failure that leaves a room carries a code of this table; a code is never
 * reused for another meaning. Broken invariants throw (`invariant`), and end the daemon.
 */

interface CodeEntry {
  /** One sentence for a person; `{name}` is filled from the details. */
  readonly sentence: string;
  /** True when the same request may succeed later without a change by the caller. */
  readonly retryable: boolean;
  /** JSON-RPC number: standard ones where they fit, else −32000 … −32099. Append only. */
  readonly rpc: number;
  /** What to do about it, where there is something to do. */
  readonly help?: string;
}

export const ERROR_CODES = {
  PARSE_ERROR: {
    sentence: 'The line is not valid JSON in UTF-8: {why}.',
    retryable: false,
    rpc: -32700,
  },
  INVALID_REQUEST: {
    sentence: 'Not a JSON-RPC 2.0 request: {why}.',
    retryable: false,
    rpc: -32600,
  },
  METHOD_NOT_FOUND: {
    sentence: "There is no method '{method}'.",
    retryable: false,
    rpc: -32601,
    help: 'rpc.discover lists all methods.',
  },
  INVALID_PARAMS: { sentence: '{why}.', retryable: false, rpc: -32602 },
  INTERNAL: {
    sentence: 'The daemon failed at this request: {why}.',
    retryable: false,
    rpc: -32603,
  },
  LINE_TOO_LONG: {
    sentence: 'A line is longer than {limit_bytes} bytes; it was skipped up to its line feed.',
    retryable: false,
    rpc: -32000,
  },
  BUSY: {
    sentence: 'Too much is waiting here: {what}.',
    retryable: true,
    rpc: -32001,
    help: 'Try again a moment later; where retry_after_ms is given, after that.',
  },
  TOO_MANY_CONNECTIONS: {
    sentence: 'The control socket serves {limit} connections at most.',
    retryable: true,
    rpc: -32002,
    help: 'Close unused clients, or share one connection.',
  },
  BATCH_TOO_LARGE: {
    sentence: 'A batch may hold {limit} requests, this one has {count}.',
    retryable: false,
    rpc: -32003,
  },
  NOT_FOUND: {
    sentence: '{what} is not known to any peer that answered.',
    retryable: true,
    rpc: -32004,
    help: 'It was never here, was forgotten after its time, or only peers out of reach have it.',
  },
  ID_CONFLICT: {
    sentence: 'Task {id} exists with another request.',
    retryable: false,
    rpc: -32005,
    help: 'An id belongs to one request; reserve a new id, or send the same request again.',
  },
  ID_EXPIRED: {
    sentence: 'The id {id} was reserved too long ago and no home store knows it.',
    retryable: false,
    rpc: -32006,
    help: 'Reserve a new id.',
  },
  NOT_ENOUGH_COPIES: {
    sentence: 'The task lies on {stored_on} of {required} stores; its outcome is unknown.',
    retryable: true,
    rpc: -32007,
    help: 'Sending the same id again is safe.',
  },
  STORE_FULL: {
    sentence: 'The disk of {peer} is full, or nearly so; no new task is taken.',
    retryable: true,
    rpc: -32008,
    help: 'Free space in the data directory. Reads go on, and so do running tasks and their results for as long as the reserve lasts.',
  },
  STORE_FAILED: {
    sentence: 'The store of {peer} failed: {why}.',
    retryable: false,
    rpc: -32009,
    help: 'Look at its disk and at the log of its daemon; send it to another peer meanwhile.',
  },
  STOPPING: {
    sentence: 'The daemon is stopping.',
    retryable: true,
    rpc: -32010,
    help: 'Send it to another peer.',
  },
  UNREACHABLE: {
    sentence: 'No peer that could answer is reachable: {what}.',
    retryable: true,
    rpc: -32011,
    help: "Try again when more members are in reach: 'covey members', 'covey doctor'.",
  },
  TIMEOUT: {
    sentence: 'No answer within {timeout_ms} ms: {what}.',
    retryable: true,
    rpc: -32012,
    help: 'What was asked for may have been done: look, or send the same again.',
  },
  PAYLOAD_TOO_LARGE: {
    sentence: '{what} is {bytes} bytes; at most {limit_bytes} are allowed.',
    retryable: false,
    rpc: -32013,
    help: 'Covey moves no files: put large inputs at the same path on all hosts.',
  },
  TASK_NOT_FINAL: {
    sentence: 'Task {id} is {state}; only a final task can be retried.',
    retryable: false,
    rpc: -32014,
    help: "Wait for its end ('covey wait'), or cancel it first ('covey cancel').",
  },
  STALE_ATTEMPT: {
    sentence:
      'Attempt {attempt} of task {id} is no longer current; the result was kept as an orphan.',
    retryable: false,
    rpc: -32015,
    help: 'Stop it if it still runs; the task goes on without it.',
  },
  NOT_REGISTERED: {
    sentence: 'This connection has not registered as a worker.',
    retryable: false,
    rpc: -32016,
    help: 'Call worker.register or worker.resume first.',
  },
  TOKEN_INVALID: {
    sentence: 'The invite token is malformed: {why}.',
    retryable: false,
    rpc: -32018,
    help: "Copy all of the line that 'covey invite' printed; it begins with covey1-.",
  },
  TOKEN_USED: {
    sentence: 'The invite token was used already, or was never issued by this peer.',
    retryable: false,
    rpc: -32019,
    help: "Print a new one at a member: 'covey invite'.",
  },
  TOKEN_EXPIRED: {
    sentence: 'The invite token expired.',
    retryable: false,
    rpc: -32020,
    help: "Print a new one at a member: 'covey invite'.",
  },
  FOREIGN_MESH: {
    sentence: 'This peer already belongs to a mesh with other members.',
    retryable: false,
    rpc: -32021,
    help: "Make the two meshes one ('covey mesh merge'), or leave this one first ('covey leave').",
  },
  LOOPBACK_ONLY: {
    sentence: 'This daemon listens on {bind} alone; other hosts cannot reach it.',
    retryable: false,
    rpc: -32022,
    help: 'Start it with --bind HOST:PORT of an address that others reach.',
  },
  NOT_ALLOWED: {
    sentence: 'This PeerId is not on the allow-list of the mesh.',
    retryable: false,
    rpc: -32023,
    help: "Join with a token that a member printed: 'covey invite' there, 'covey join' here.",
  },
  REVOKED: {
    sentence: 'This peer was revoked by {by}, {at}, and never returns.',
    retryable: false,
    rpc: -32024,
    help: "With a new data directory it is another peer, and may be invited again ('covey invite').",
  },
  VERSION_MISMATCH: {
    sentence: 'No common version: here {ours}, there {theirs}.',
    retryable: false,
    rpc: -32025,
    help: 'Upgrade the older side.',
  },
  JOIN_FAILED: {
    sentence: 'The inviter could not be reached: {why}.',
    retryable: true,
    rpc: -32026,
    help: "Is its daemon up, and its port open to this host? 'covey status' there shows its addresses; --advertise sets them.",
  },
  STORE_REFUSED: {
    sentence: 'The store was refused: {why}.',
    retryable: false,
    rpc: -32028,
    help: 'A store that was rolled back or copied gets a new store id; its old data is only joined.',
  },
  CURSOR_INVALID: {
    sentence: 'The cursor is not one of task.list.',
    retryable: false,
    rpc: -32029,
    help: 'Send the cursor of the answer before as it came, or none to begin anew.',
  },
  SUBSCRIPTIONS_MAX: {
    sentence: 'A connection may hold {limit} subscriptions.',
    retryable: false,
    rpc: -32030,
    help: 'End one (events.unsubscribe), or open another connection.',
  },
  NO_ADDRESS: {
    sentence: 'This daemon listens on {bind}, and knows no address at which others reach it.',
    retryable: false,
    rpc: -32032,
    help: 'Start it with --advertise HOST:PORT, as others reach it.',
  },
  NOT_REMOVABLE: {
    sentence: 'Member {name} cannot be removed: {why}.',
    retryable: false,
    rpc: -32033,
    help: "Only a member that is dead or has left is removed. Stop it first, or run 'covey leave' on its host.",
  },
  NOT_ENOUGH_READ: {
    sentence:
      'Task {id} was read from {answered} of its {home} home stores; {required} are asked for.',
    retryable: true,
    rpc: -32034,
    help: 'Ask for fewer, or when more members are in reach.',
  },
  NOT_REVOCABLE: {
    sentence: 'Peer {name} cannot be revoked: {why}.',
    retryable: false,
    rpc: -32035,
    help: "To take this host out, run 'covey leave' on it, or 'covey access revoke' at another member.",
  },
  ADMISSION_VOID: {
    sentence: 'This peer is no member any more: {by} revoked the peer that had admitted it, {at}.',
    retryable: false,
    rpc: -32036,
    help: "A member can let it in again: 'covey access allow PEER_ID', or a new token of 'covey invite'.",
  },
  TOKEN_FOR_MERGE: {
    sentence: 'This token joins two meshes; it lets no single host in.',
    retryable: false,
    rpc: -32037,
    help: "Run 'covey mesh merge' with it on a member of the other mesh; for one host print another: 'covey invite'.",
  },
  TOKEN_NOT_FOR_MERGE: {
    sentence: 'This token lets one host in; it joins no meshes.',
    retryable: false,
    rpc: -32038,
    help: "Print another one there: 'covey invite --merge'.",
  },
  NOT_MERGEABLE: {
    sentence: 'The meshes cannot be merged: {why}.',
    retryable: false,
    rpc: -32039,
    help: 'Look at both with `covey members` and `covey access list`; neither was changed.',
  },
  MERGE_CUTS: {
    sentence: 'The merge would cut off {who}: what one mesh has revoked is out of both.',
    retryable: false,
    rpc: -32040,
    help: 'Run it again with --yes to do it all the same.',
  },
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;
export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface CoveyError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** Builds the error of a code; placeholders of its sentence are filled from `details`. */
export function coveyError(code: ErrorCode, details: ErrorDetails = {}): CoveyError {
  const message = ERROR_CODES[code].sentence.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = details[name];
    return value === undefined ? '' : String(value);
  });
  // A detail may be a sentence of somebody else, with its own full stop.
  return { code, message: message.replace(/([.!?])\.$/, '$1'), details };
}

export const isRetryable = (code: ErrorCode): boolean => ERROR_CODES[code].retryable;

/** What to do about an error, if the table knows. */
export const helpOf = (code: ErrorCode): string | undefined =>
  (ERROR_CODES[code] as CodeEntry).help;

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_CODES, text);

/** A broken invariant: a mistake of ours, never of an input. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** The text of whatever was thrown. */
export const messageOf = (thrown: unknown): string =>
  thrown instanceof Error ? thrown.message : String(thrown);

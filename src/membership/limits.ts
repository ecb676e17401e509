/** Every maximum and fixed time of the room, with its reason. */

/** Whatever the variance says, phi is not a weapon: beyond this a larger number means nothing. */
export const PHI_MAX = 100;
/**
 * Heartbeat intervals kept per member; at 1 s more would remember a network that is gone.
 */
export const PHI_WINDOW_MAX = 200;
/** Without a floor, a very regular network makes one late packet a suspicion (Akka's 100 ms). */
export const PHI_SIGMA_MS_MIN = 100;
/** Without a cap, one bad minute blinds the detector for the next ten. */
export const PHI_SIGMA_MS_MAX = 2_000;

/** The watchdog of our own pauses; the granularity of every decision by time. */
export const TICK_MS = 250;
/**
 * A tick that comes later than this after it was due: we were stopped, and judge nobody for a
 * while.
 */
export const PAUSE_MS = 1_000;
/** A tick later than this is a sign of our own lag. */
export const LAG_MS = 250;
/** Steps of own bad health (Lifeguard): at the last one, patience is doubled. */
export const HEALTH_STEPS = 4;

/** One that is alone believes a refused port only after this much refusing. */
export const LONE_CRASH_MS = 1_000;
/** Alone, a silence convicts after twice the patience, and not later than this unless the patience itself is longer. */
export const LONE_SILENCE_MS_MAX = 16_000;
/** The silence of a boot that was announced and never heard convicts only after so many patiences. */
export const UNMET_PATIENCES = 2;
/** A link on which nothing came for so many patiences is ended, though others hear the member. */
export const STALE_PATIENCES = 3;
/**
 * An accusation or objection not renewed (they are sent each heartbeat interval) counts no more.
 */
export const OPINION_TTL_MS = 3_000;

export const DIAL_TIMEOUT_MS = 3_000;
/** For a resolver to answer where `peers` are. */
export const RESOLVE_TIMEOUT_MS = 3_000;
/** Between two looks at the places of `peers`, while nobody is linked: a DNS record lives longer. */
export const LOOK_INTERVAL_MS = 10_000;
export const PROBE_TIMEOUT_MS = 2_000;
export const ADMIT_TIMEOUT_MS = 5_000;
/** First delay between dials of a member. */
export const REDIAL_MS_MIN = 40;
/**
 * Of two that have just heard of one another one dials, and the other this much later if nothing came: two connections
 * of one pair are two handshakes and no use.
 */
export const DIAL_GRACE_MS = 4_000;
/** Members heard of for the first time that are dialled at once; the pause after each, in times the dial took. */
export const MEETINGS_MAX = 2;
export const MEETING_RESTS = 4;
export const MEETING_REST_MS_MAX = 5_000;
/** In a large mesh: after the last newcomer that was heard of, and after the first one at the latest. */
export const QUIET_MS = 2_000;
export const QUIET_MS_MAX = 15_000;
/** While it is unclear whether the other end crashed, redials come at least this often … */
export const REDIAL_HOT_MS = 200;
/** … and for so long. */
export const REDIAL_HOT_FOR_MS = 3_000;
/** A link that is open for so long without a finished handshake is greeted again by us. */
export const HANDSHAKE_RETRY_MS = 1_000;
/**
 * Types of workers in the load of one peer, and the bytes of a name: they come on heartbeats, and are kept of each peer
 * that is observed. A daemon offers no more of them, so a heartbeat that tells of more is refused whole.
 */
export const WORKER_TYPES_TOLD_MAX = 1_024;
export const WORKER_TYPE_BYTES_MAX = 128;
/** In every so many heartbeats the load is told though it is the same: who lost it has it again in ten seconds. */
export const LOAD_EVERY_BEATS = 10;
/** After so many hellos without an answer, 6 s each, the connection is closed and another one dialled. */
export const HELLOS_UNANSWERED_MAX = 3;
/** Told again that it is accused, at most so often. */
export const ACCUSED_NOTICE_MS = 500;

/** A second daemon with the key of a linked peer is put off for so long: longer than a heartbeat interval. */
export const TWIN_RETRY_MS = 1_500;
/** Times that somebody with our key outbid us in one boot: an old copy of `identity/` explains one or two. */
export const OUTBID_MAX = 3;

/** Peers that are not on the allow-list and are being answered at once. */
export const STRANGERS_MAX = 4;
/** Told to one more: longer than an admission takes (one durable write), or it would only come back too early. */
export const STRANGER_RETRY_MS = 250;
/** Of one that waits behind many: within the time that a stranger's connection is kept. */
export const STRANGER_RETRY_MS_MAX = 4_000;
/** Strangers that are counted as waiting: more than have a connection. */
export const WAITING_MAX = 64;
/** What the other says of when to come back is believed between these. */
export const RETRY_AFTER_MS_MIN = 50;
export const RETRY_AFTER_MS_MAX = 5_000;
/** A newcomer asks again for so long over one connection: as long as the inviter keeps that of a stranger. */
export const BUSY_PATIENCE_MS = 8_000;
/** Open invitations: a token is printed by a person. */
export const INVITES_MAX = 256;
/** Entries from a newcomer up to the founder; a longer chain is learned by anti-entropy instead. */
export const CHAIN_MAX = 16;

/** Facts in a welcome, and their bytes: within a frame of 64 KiB. A larger view comes by anti-entropy. */
export const WELCOME_FACTS_MAX = 1_000;
export const WELCOME_BYTES_MAX = 48 * 1_024;

/** Signatures that need not be verified again when they come again: of a thousand members, some 2 MiB. */
export const SIGNATURES_MAX = 4_096;
/** What was signed is kept with them: a larger fact, as hardly any is, is verified each time. At most 16 MiB in all. */
export const SIGNED_BYTES_MAX = 4 * 1_024;

export const MEMBERS_MAX = 10_000;
/** Admissions, remembered for good: some 300 bytes each, and a digest of the view names them all. */
export const ENTRIES_MAX = 20_000;
/**
 * A turn that others say of us may be ahead of ours by so much: more is a lie or a mistake, and to outbid it would bring
 * our own turn to where no number is left.
 */
export const TURN_LEAP_MAX = 2 ** 20;
/** Of the facts in one delta; with as many keys as may be wanted it fits into a frame of 8 MiB. */
export const DELTA_BYTES_MAX = 2 * 1_024 * 1_024;
/**
 * Facts of one member that are read: each costs a verification, 0.1 ms. A view of 500 members comes at once, a larger one
 * in some rounds and from several members. `burst` is more than one delta has: else that one would never be taken.
 */
export const DELTA_ALLOWANCE = { burst: 1_024, perSecond: 512 };
/** Views, digests and wants of one member that are answered, each with up to a whole view; one comes every two seconds at most. */
export const DIGEST_ALLOWANCE = { burst: 16, perSecond: 4 };
/** Words of one member that we are dead and that we answer, with a new record for everybody to read. */
export const ACCUSED_ALLOWANCE = { burst: 16, perSecond: 1 };
/** Senders that are counted so: more than there are links. */
export const COUNTED_MAX = 512;
/** Requests of strangers that are looked at, each with up to 17 signatures: two racks that join at once. */
export const STRANGER_ALLOWANCE = { burst: 200, perSecond: 50 };
/** Stores removed by operators, remembered for good: some 300 bytes each. */
export const REMOVALS_MAX = 10_000;
/** Former stores that wait for their removal: one for each time that this peer's store was replaced meanwhile. */
export const FORMER_MAX = 64;
/** All members in touch for so long: takeovers are over, and each pair of stores has compared what both hold. */
export const FORMER_AFTER_MS = 30_000;
/** Revocations of peers that were never admitted here, remembered for good; some 300 bytes each. */
export const REVOCATIONS_MAX = 10_000;
/** Admissions that a revocation lists as standing, 53 bytes each: it fits into news. More are signed anew. */
export const KEEPS_MAX = 200;
/** Merges, remembered for good. Meshes are joined by people, and each member may state the same one. */
export const MERGES_MAX = 64;
/** Merges in a hello, with the entries of their authors: who was away learns of them whoever greets it. */
export const HELLO_MERGES_MAX = 32;
/** Revoked peers that each side of a merge shows the other: some 30 KB of the 64 KiB of a frame. */
export const MERGE_REVOKED_MAX = 500;
/** Names of those whom a merge would cut off, as an operator is told them. */
export const MERGE_CUTS_MAX = 100;
export const ADDRESSES_MAX = 8;
/** A label's value is 128 characters, which may be four bytes each. */
export const TEXT_BYTES_MAX = 512;
/** Facts in one delta; the next round brings the rest. */
export const DELTA_FACTS_MAX = 512;
/** 32 labels at their limits; one too large for news travels by anti-entropy alone. */
export const RECORD_BYTES_MAX = 24 * 1_024;
export const BOOT_IDS_MAX = 64;
/** Stores remembered of one peer: it has one, and mints another when that is wiped or was copied. All are looked through at each hello. */
export const SEEN_STORES_MAX = 32;
/** Addresses that are probed again for one question of `covey doctor`. */
export const RECHECKS_MAX = 32;
/** Refusals that are remembered for an operator, one a peer and side. */
export const REFUSALS_KEPT_MAX = 32;
/** Observers named in a verdict: more than there may be. */
export const SEEN_BY_MAX = 64;
/** How long a stopping peer waits for its goodbyes to be written. */
export const GOODBYE_MS = 1_000;
/** What was seen of members' stores is written at most so late. */
export const BOOK_FLUSH_MS = 200;
/** A member that is not in the book yet; so late, for that many come at once. */
export const BOOK_FIRST_MS = 5;

/** Members that somebody waits for a link to, in a partial mesh; others are out of reach for now. A dial costs 4 ms of CPU. */
export const CONNECTING_MAX = 256;
/** What was dialled in vain is not dialled again for a request within this: the relay is tried at once. */
export const CONNECT_RETRY_MS = 5_000;
/** Links among the observers of a suspect are kept this long: until it is dead, or heard again. */
export const SUMMON_MS = 15_000;
/** A link on which nobody has to send heartbeats, and nothing came for so long, is asked for a sign of life. */
export const LINK_QUIET_MS = 30_000;
/** Between two looks for members that are lost, in a partial mesh. */
export const SEEK_MS = 1_000;

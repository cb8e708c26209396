"""What a circle's records amount to: section 14 of docs/protocol.md, step by step, for check_vectors.py."""

import collections
import hashlib

ZERO = bytes(32)
CHARTER, PLEDGE, JOIN, ADMISSION, REMOVAL, LEAVE, EPOCH = 1, 2, 3, 4, 7, 11, 12
REINSTATEMENT, DELEGATION, REVOCATION, CEASE, MUTE, FREEZE, MODE, DOOR, CLOSE = 14, 15, 16, 17, 19, 21, 22, 23, 24
ERASE, SUCCESSION, EQUIVOCATION = 29, 30, 31
LEADER, PARTICIPANT, LISTENER, CO_LEADER = 0, 1, 2, 3
LEADING, BESIDE = 0, 1
ONLY_LEADING = {CHARTER, DELEGATION, REVOCATION, CLOSE}
INVITE = 1
STEP = 2**20
BRANCHES = 16

Said = collections.namedtuple("Said", "id kind author seq prev lamport created body")


class Power:
    def __init__(self, rank, begins):
        self.rank, self.begins, self.cut, self.dispute, self.head, self.fork = rank, begins, None, None, (0, begins), None

    def is_live(self):
        return self.cut is None and self.dispute is None and self.fork is None


def said(record, ident):
    return Said(ident, record[1], record[3], record[4], record.get(5), record[6], record[7], record[9])


def cut_of(part):
    return None if part is None else (part[0], part[1])


def earlier(one, other):
    return min((cut for cut in (one, other) if cut is not None), default=None)


class Circle:
    def __init__(self, charter, founding, chained, records, genuine_proof):
        self.charter, self.founding = charter, founding
        self.places = collections.defaultdict(lambda: collections.defaultdict(dict))
        pledges, joins, leaves = {}, {}, []
        for each in records:
            if each.kind in chained:
                self.places[each.author][each.seq][each.id] = each
            elif each.kind == PLEDGE:
                pledges[each.id] = each
            elif each.kind == JOIN:
                joins[each.id] = each
            elif each.kind in (LEAVE, ERASE):
                leaves.append(each)
        self.joins = {
            ident: (join, pledges[join.body[2]])
            for ident, join in joins.items()
            if join.body[2] in pledges and pledges[join.body[2]].author == join.author
            and (3 not in join.body or genuine_proof(join))
        }
        entries = [each for chain in self.places.values() for place in chain.values() for each in place.values()]
        named = {each.body[2] for each in entries if each.kind == ADMISSION}
        self.left = {(each.author, each.body[0]) for each in leaves if each.body[0] in named}

    # 14.1
    def settled(self, author, begins, cut):
        back, ident = [], cut[1]
        for seq in range(cut[0], 0, -1):
            entry = self.places[author][seq].get(ident) if seq in self.places[author] else None
            if entry is None:
                return None
            back.append(entry)
            ident = entry.prev
        return back[::-1] if ident == begins else None

    def path(self, author, begins, cut=None):
        chain = self.places[author]
        settled = None if cut is None else self.settled(author, begins, cut)
        if settled is not None:
            return settled
        path, last, seq = [], begins, 1
        while (cut is None or seq <= cut[0]) and len(chain.get(seq, ())) == 1:
            (entry,) = chain[seq].values()
            if entry.prev != last:
                break
            path.append(entry)
            last, seq = entry.id, seq + 1
        return path

    def removals(self, author, begins, cut):
        settled = None if cut is None else self.settled(author, begins, cut)
        if settled is not None:
            return [entry for entry in settled if entry.kind == REMOVAL]
        return [
            place[ident]
            for seq, place in sorted(self.places[author].items()) if cut is None or seq <= cut[0]
            for ident in sorted(ident for ident in place if place[ident].kind == REMOVAL)[:BRANCHES]
        ]

    # 14.2 to 14.4
    def authority(self):
        own = self.founding
        powers = {self.charter[3]: Power(LEADING, own)}
        leaders = [(self.charter[3], self.charter[5])]
        for entry in self.path(self.charter[4], own):
            if entry.kind != SUCCESSION or entry.body[0] in powers or entry.body[0] == self.charter[4]:
                continue
            powers[leaders[-1][0]].cut = cut_of(entry.body[2])
            powers[entry.body[0]] = Power(LEADING, entry.id)
            leaders.append((entry.body[0], entry.body[1]))

        def beside(key):
            return key in powers and powers[key].rank == BESIDE

        def leaves(removal):
            return cut_of(removal.body.get(3)) or (0, powers[removal.body[0]].begins)

        for key, _ in leaders:
            for entry in self.path(key, powers[key].begins, powers[key].cut):
                if entry.kind == DELEGATION and entry.body[1] == CO_LEADER and entry.body[0] not in powers:
                    powers[entry.body[0]] = Power(BESIDE, entry.id)
                if entry.kind == REVOCATION and beside(entry.body[0]):
                    powers[entry.body[0]].cut = earlier(powers[entry.body[0]].cut, cut_of(entry.body[1]))
        for key, _ in leaders:
            for removal in self.removals(key, powers[key].begins, powers[key].cut):
                if beside(removal.body[0]):
                    powers[removal.body[0]].cut = earlier(powers[removal.body[0]].cut, leaves(removal))
        quarrels = [
            removal
            for key, power in powers.items() if power.rank == BESIDE
            for removal in self.removals(key, power.begins, power.cut)
        ]
        for removal in quarrels:
            if beside(removal.body[0]):
                powers[removal.body[0]].dispute = earlier(powers[removal.body[0]].dispute, leaves(removal))
        return powers, leaders

    # 14.5
    def standing(self, powers):
        stands = []
        for key, power in powers.items():
            end = earlier(power.cut, power.dispute)
            path = self.path(key, power.begins, end)
            power.head = (path[-1].seq, path[-1].id) if path else (0, power.begins)
            power.fork = min((seq for seq, place in self.places[key].items() if len(place) > 1), default=None)
            more = [
                removal for removal in self.removals(key, power.begins, power.cut)
                if removal not in path
                and (end is None or removal.seq <= end[0] or (removal.body[0] in powers and powers[removal.body[0]].rank == BESIDE))
            ]
            carries = power.rank == LEADING
            stands += [(each.lamport, power.rank, each.author, each.seq, each.id, each, carries) for each in path]
            stands += [(each.lamport, power.rank, each.author, each.seq, each.id, each, False) for each in more]
        kept, led = [], 0
        for lamport, rank, *_, entry, carries in sorted(stands, key=lambda each: each[:5]):
            if lamport <= led + (2 if rank == LEADING else 1) * STEP:
                kept.append(entry)
                led = lamport if carries else led
        return kept

    # 14.6 to 14.8
    def fold(self):
        powers, leaders = self.authority()
        entries = self.standing(powers)
        leader = leaders[-1][1]
        led = {pseudonym for _, pseudonym in leaders}
        notices = collections.defaultdict(list)
        for entry in entries:
            if entry.kind == REMOVAL and entry.body[0] != leader:
                notices[entry.body[0]].append(entry)
        undone, members, spent, known, seated, mutes, epochs = set(), {}, set(), set(), set(), {}, []
        floor, frozen, door_open, closed = self.charter[10], False, True, False

        def standing_notices(key):
            return [notice for notice in notices[key] if notice.id not in undone]

        def leads_beside(key):
            return key in powers and powers[key].rank == BESIDE and powers[key].is_live()

        def proof_stands(entry, join):
            if 3 not in join.body:
                return self.charter[6] != INVITE
            token, sponsor, until = (join.body[3][each] for each in range(3))
            trusted = sponsor in known or (sponsor in powers and powers[sponsor].rank == LEADING)
            fallen = any(notice.lamport < entry.lamport for notice in standing_notices(sponsor))
            return token not in spent and entry.created <= until and trusted and not fallen

        def may_enter(entry, join, pledge):
            subject = entry.body[0]
            over = lambda notice: 2 in notice.body and notice.body[2] <= entry.created and notice.lamport < entry.lamport
            return (
                join.author == subject
                and all(map(over, standing_notices(subject)))
                and ((subject, join.id) not in self.left or subject == leader)
                and subject not in members
                and pledge.body[0] == self.charter[7]
                and (entry.body[1] == LEADER or proof_stands(entry, join))
                and len(seated & set(members)) < self.charter[8]
            )

        for entry in entries:
            body, rank = entry.body, powers[entry.author].rank
            if closed or (entry.kind in ONLY_LEADING and rank != LEADING):
                continue
            if entry.kind in (DELEGATION, REMOVAL, MUTE, CEASE) and body[0] == leader:
                continue
            if entry.kind in (ADMISSION, DELEGATION) and body[1] == LISTENER and not self.charter[11]:
                continue
            if entry.kind == ADMISSION and (body[1] == CO_LEADER or (body[1] == LEADER and body[0] not in led)):
                continue
            if entry.kind == ADMISSION and body[2] in self.joins:
                join, pledge = self.joins[body[2]]
                enters = may_enter(entry, join, pledge)
                if 3 in join.body:
                    spent.add(join.body[3][0])
                known.add(body[0])
                if enters:
                    seated.add(body[0])
                    members[body[0]] = [CO_LEADER if leads_beside(body[0]) else body[1], join.id]
            elif entry.kind == REINSTATEMENT:
                for notice in sum(notices.values(), []):
                    if notice.id == body[0] and notice.lamport < entry.lamport and (rank == LEADING or notice.author == entry.author):
                        undone.add(notice.id)
            elif entry.kind in (DELEGATION, REVOCATION) and body[0] in members:
                role = body[1] if entry.kind == DELEGATION else PARTICIPANT
                members[body[0]][0] = PARTICIPANT if role == CO_LEADER and not leads_beside(body[0]) else role
            elif entry.kind == MUTE:
                mutes[body[0]] = body[1]
            elif entry.kind == FREEZE:
                frozen = body[0]
            elif entry.kind == MODE:
                floor = body[0]
            elif entry.kind == DOOR:
                door_open = body[0]
            elif entry.kind == CLOSE:
                closed = True
            elif entry.kind == EPOCH:
                if epochs and body[0] > epochs[0].body[0]:
                    epochs.clear()
                if not epochs or body[0] == epochs[0].body[0]:
                    epochs.append(entry)
                    seated = {part[0] for part in body[1]}
        for key, member in members.items():
            member[0] = LEADER if key == leader else PARTICIPANT if member[0] == LEADER else member[0]
        removed = sorted(key for key in notices if key not in members and standing_notices(key))
        epoch = next((each for each in epochs if not any(part[0] in removed for part in each.body[1])), None)
        digest = b"".join(
            key + bytes([members[key][0]]) + members[key][1] + mutes.get(key, 0).to_bytes(8, "big") for key in sorted(members)
        )
        digest += b"".join(removed)
        digest += b"".join(key + bytes([powers[key].is_live()]) + powers[key].head[1] for key in sorted(powers))
        digest += leader + bytes([floor, frozen, door_open, closed]) + (epoch.id if epoch else ZERO)
        return {
            "members": [[key.hex(), members[key][0]] for key in sorted(members)],
            "removed": [key.hex() for key in removed],
            "leader": leader.hex(),
            "powers": [[key.hex(), powers[key].head[0], powers[key].is_live()] for key in sorted(powers)],
            "epoch": epoch.id.hex() if epoch else None,
            "epoch_number": epochs[0].body[0] if epochs else 0,
            "floor": floor, "frozen": frozen, "door_open": door_open and not closed, "closed": closed,
            "digest": hashlib.sha256(digest).hexdigest(),
        }

; S1: under `majority` there are never two effective addresses. By induction, for any number of
; members, incarnations and messages, and for all H, kappa, rho, D and Q that satisfy the inequalities.
;
; `unsat` after a claim's negation: the claim holds. `sat`: there is a run that breaks it. `cargo
; verify proofs` compares every answer with the one expected beside it.
;
; THE MODEL. Members, incarnations of members (one process each), adverts and quorums are abstract sorts of any
; size. All that is used of quorums is that any two share a member. Time is true time, a real. What a
; member knows of clocks is in three numbers, all proved in inequalities.smt2 to be ordered so:
;     E = (H + kappa) / (1 - rho)   the greatest true length from an ask's sending to the shut gate
;     F = D / (1 + rho)             the smallest true length from an ask's arrival to its free vote
;     G = Q / (1 + rho)             the smallest true length of a quarantine
;     E <= F and E <= G
; An instant of a member's clock is represented by the true time at which that clock first showed it. A
; turn may act on an older reading than the present (it was paused after reading its clock), two turns
; may have the same reading, and no turn has an older one than the turn before. (Readings are whole
; nanoseconds, rounded down: so an ask must be under way for at least one.) kappa is by the holder's clock.
;
; Nothing that was sent is ever removed: an advert may arrive never, once, often, in any order, after any
; delay. R-1 and R-2 are left out (every incarnation of the addressee may accept every advert, stale ones too),
; so are R-10 to R-13, R-15, R-16 and R-18, who is asked, who hears whom, health and operators: each of
; them only forbids behaviour or chooses among what is allowed here. So S1 does not depend on them.
; R-14 (`survivor`) and R-17 (an operator's word in place of a vote) are not modelled.
(set-logic ALL)
(set-option :smt.mbqi.max_iterations 100000)

(declare-sort State 0)
(declare-sort Member 0)
(declare-sort Incarnation 0)
(declare-sort Advert 0)
(declare-sort Quorum 0)

(declare-const E Real)
(declare-const F Real)
(declare-const G Real)
(assert (> E 0.0))
; Which guards are in force; all are, but where a run below shows what happens without one.
(declare-const long_enough Bool)      ; the inequalities of time
(declare-const live_vote_stays Bool)  ; R-4, first half: a live vote never moves
(declare-const holder_never_votes Bool) ; R-4, R-6: a holder, or one with a release pending, does not vote
(declare-const revocation Bool)       ; R-3
(declare-const asks_while_held Bool)  ; R-5, second half
(declare-const newer_only Bool)       ; R-5: only an advert sent after the ask frees the vote
(declare-const same_incarnation Bool)        ; R-7: in this incarnation
(declare-const own_vote Bool)         ; R-6: one whose own vote is bound takes no hold
(declare-const from_the_ask Bool)     ; R-7: the lease counts from the ask
(declare-const release_first Bool)    ; R-8: no hold between a release and its confirmation
(declare-const one_process Bool)      ; R-9: the lock
(declare-const quarantine Bool)       ; R-9
(assert (=> long_enough (and (<= E F) (<= E G))))
(assert (and (>= F 0.0) (>= G 0.0)))

; ---- What never changes ---------------------------------------------------------------------
(declare-fun member (Incarnation) Member)
(declare-fun earlier (Incarnation Incarnation) Bool)     ; incarnations of one member, in the order of their starts
(declare-fun in (Member Quorum) Bool)
(declare-fun shared (Quorum Quorum) Member)
(assert (forall ((p Quorum) (q Quorum)) (and (in (shared p q) p) (in (shared p q) q))))
(assert (forall ((a Incarnation) (b Incarnation)) (=> (earlier a b) (not (earlier b a)))))
; An advert asks, or does not ask, or tells of a vote. (A real one does two of these; that is two here.)
(declare-datatypes ((Kind 0)) (((asks) (asks_not) (votes))))
(declare-fun kind (Advert) Kind)
(declare-fun from (Advert) Incarnation)
(declare-fun to (Advert) Member)           ; of those that ask or don't
(declare-fun stamp (Advert) Real)          ; `sent_at`; of those that say a vote: of the ask
(declare-fun vote_for (Advert) Incarnation)       ; of those that say a vote

; ---- What a state is ------------------------------------------------------------------------
(declare-fun now (State) Real)
(declare-fun sent (State Advert) Bool)
; an incarnation: has it started, does it run, its latest reading of the clock, the end of its quarantine
(declare-fun started (State Incarnation) Bool)
(declare-fun runs (State Incarnation) Bool)
(declare-fun clock (State Incarnation) Real)
(declare-fun ready_at (State Incarnation) Real)
; its vote; that of a dead incarnation is kept as it was, for the proof only
(declare-fun bound (State Incarnation) Bool)
(declare-fun owner (State Incarnation) Incarnation)
(declare-fun asked_at (State Incarnation) Real)
(declare-fun until (State Incarnation) Real)
; since when it has asked a member without a pause (R-3)
(declare-fun asking (State Incarnation Member) Bool)
(declare-fun since (State Incarnation Member) Real)
; for the proof only: the reading of its latest advert to that member that did not ask, or of its start
(declare-fun revoked (State Incarnation Member) Real)
; Holder or Releasing; a release is pending; the kernel has done it
(declare-fun holds (State Incarnation) Bool)
(declare-fun releasing (State Incarnation) Bool)
(declare-fun done (State Incarnation) Bool)
; the kernel of a member: when its gate is shut if nothing more is said. EFFECTIVE means now < gate.
(declare-fun gate (State Member) Real)
; for the proof only: the incarnation and the quorum of that hold, and the incarnations whose votes were counted
(declare-fun h_incarnation (State Member) Incarnation)
(declare-fun h_quorum (State Member) Quorum)
(declare-fun h_voter (State Member Member) Incarnation)

(define-fun effective ((s State) (m Member)) Bool (< (now s) (gate s m)))
(define-fun S1 ((s State)) Bool
  (forall ((a Member) (b Member)) (=> (and (effective s a) (effective s b)) (= a b))))

; ---- The invariant --------------------------------------------------------------------------
; A: incarnations. At most one runs, the youngest; what has not started has done nothing.
(define-fun inv_incarnations ((s State)) Bool (and
  (forall ((l Incarnation)) (=> (runs s l) (started s l)))
  (forall ((a Incarnation) (b Incarnation)) (=> (and (started s a) (started s b) (= (member a) (member b)) (not (= a b)))
    (or (earlier a b) (earlier b a))))
  (forall ((a Incarnation) (b Incarnation)) (=> (and (runs s a) (started s b) (= (member a) (member b)))
    (not (earlier a b))))
  (forall ((l Incarnation)) (=> (started s l) (<= (clock s l) (now s))))
  (forall ((l Incarnation)) (=> (not (started s l)) (and (not (bound s l)) (not (holds s l)))))
  (forall ((l Incarnation)) (=> (releasing s l) (holds s l)))
  (forall ((l Incarnation) (m Member)) (=> (not (started s l)) (not (asking s l m))))
  (forall ((x Advert)) (=> (sent s x) (started s (from x))))))
; B: adverts bear readings of the past; an unrevoked stretch of asks began after every advert to that
; member that does not ask (R-3).
(define-fun inv_adverts ((s State)) Bool (and
  (forall ((x Advert)) (=> (and (sent s x) (not (= (kind x) votes))) (<= (stamp x) (clock s (from x)))))
  (forall ((x Advert)) (=> (sent s x) (<= (stamp x) (now s))))
  (forall ((x Advert)) (=> (and (sent s x) (= (kind x) asks_not))
    (<= (stamp x) (revoked s (from x) (to x)))))
  (forall ((l Incarnation) (m Member)) (=> (asking s l m) (<= (revoked s l m) (since s l m))))
  (forall ((l Incarnation) (m Member)) (=> (started s l) (<= (revoked s l m) (clock s l))))))
; C: a vote lasts at least E from the ask's sending; a later incarnation of the voter is in quarantine as long.
(define-fun inv_votes ((s State)) Bool (and
  (forall ((k Incarnation)) (=> (bound s k) (and (started s k) (started s (owner s k)) (<= (ready_at s k) (now s))
    (<= (asked_at s k) (now s)) (<= (+ (asked_at s k) E) (until s k)))))
  (forall ((k Incarnation) (j Incarnation)) (=> (and (bound s k) (started s j) (= (member j) (member k)) (earlier k j))
    (<= (+ (asked_at s k) E) (ready_at s j))))
  (forall ((l Incarnation)) (=> (holds s l) (and (started s l) (<= (ready_at s l) (now s)) (not (bound s l)))))))
; D: whatever an advert says of a vote, for an ask that is neither revoked (R-3) nor too old for a lease, is
; true: that vote is bound, to that incarnation, for that ask or a newer one.
(define-fun inv_said ((s State)) Bool (and
  (forall ((x Advert)) (=> (and (sent s x) (= (kind x) votes)) (started s (vote_for x))))
  (forall ((x Advert)) (=> (and (sent s x) (= (kind x) votes)
      (<= (revoked s (vote_for x) (member (from x))) (stamp x)) (< (now s) (+ (stamp x) E)))
    (and (bound s (from x)) (= (owner s (from x)) (vote_for x)) (<= (stamp x) (asked_at s (from x))))))))
; E: an effective hold has a quorum of votes that are bound to it until its gate is shut, its own
; included, and goes on asking them.
(define-fun inv_holds ((s State)) Bool (and
  (forall ((m Member)) (=> (effective s m) (and (= (member (h_incarnation s m)) m) (started s (h_incarnation s m))
    (holds s (h_incarnation s m)) (in m (h_quorum s m)) (<= (gate s m) (+ (now s) E)))))
  (forall ((m Member) (l Incarnation)) (=> (and (effective s m) (started s l) (= (member l) m) (earlier (h_incarnation s m) l))
    (<= (gate s m) (ready_at s l))))
  (forall ((l Incarnation)) (=> (and (effective s (member l)) (runs s l)) (not (and (releasing s l) (done s l)))))
  (forall ((m Member) (v Member)) (=> (and (effective s m) (in v (h_quorum s m)) (not (= v m)))
    (and (= (member (h_voter s m v)) v) (bound s (h_voter s m v)) (= (owner s (h_voter s m v)) (h_incarnation s m))
      (<= (gate s m) (+ (asked_at s (h_voter s m v)) E))
      (asking s (h_incarnation s m) v) (<= (since s (h_incarnation s m) v) (asked_at s (h_voter s m v))))))))
(define-fun Inv ((s State)) Bool
  (and (inv_incarnations s) (inv_adverts s) (inv_votes s) (inv_said s) (inv_holds s)))

; ---- Frames: what a step leaves as it was ---------------------------------------------------
(define-fun same_time ((s State) (t State)) Bool (= (now t) (now s)))
(define-fun same_sent ((s State) (t State)) Bool (forall ((x Advert)) (= (sent t x) (sent s x))))
(define-fun same_incarnation_but ((s State) (t State) (l Incarnation)) Bool (forall ((k Incarnation)) (=> (not (= k l))
  (and (= (started t k) (started s k)) (= (runs t k) (runs s k)) (= (ready_at t k) (ready_at s k))
       (= (clock t k) (clock s k))))))
(define-fun same_incarnations ((s State) (t State)) Bool (forall ((k Incarnation))
  (and (= (started t k) (started s k)) (= (runs t k) (runs s k)) (= (ready_at t k) (ready_at s k)))))
(define-fun same_vote ((s State) (t State) (k Incarnation)) Bool
  (and (= (bound t k) (bound s k)) (= (owner t k) (owner s k)) (= (asked_at t k) (asked_at s k))
       (= (until t k) (until s k))))
(define-fun same_votes ((s State) (t State)) Bool (forall ((k Incarnation)) (same_vote s t k)))
(define-fun same_votes_but ((s State) (t State) (l Incarnation)) Bool
  (forall ((k Incarnation)) (=> (not (= k l)) (same_vote s t k))))
(define-fun same_asking ((s State) (t State)) Bool (forall ((l Incarnation) (m Member))
  (and (= (asking t l m) (asking s l m)) (= (since t l m) (since s l m)) (= (revoked t l m) (revoked s l m)))))
(define-fun same_role ((s State) (t State) (l Incarnation)) Bool
  (and (= (holds t l) (holds s l)) (= (releasing t l) (releasing s l)) (= (done t l) (done s l))))
(define-fun same_roles ((s State) (t State)) Bool (forall ((l Incarnation)) (same_role s t l)))
(define-fun same_roles_but ((s State) (t State) (k Incarnation)) Bool
  (forall ((l Incarnation)) (=> (not (= l k)) (same_role s t l))))
(define-fun same_proof ((s State) (t State) (m Member)) Bool
  (and (= (h_incarnation t m) (h_incarnation s m)) (= (h_quorum t m) (h_quorum s m))
       (forall ((v Member)) (= (h_voter t m v) (h_voter s m v)))))
(define-fun same_gates_but ((s State) (t State) (n Member)) Bool
  (forall ((m Member)) (=> (not (= m n)) (and (= (gate t m) (gate s m)) (same_proof s t m)))))
(define-fun same_gates ((s State) (t State)) Bool
  (forall ((m Member)) (and (= (gate t m) (gate s m)) (same_proof s t m))))
; A turn of incarnation l: it reads its clock, no earlier than before and no later than now.
(define-fun turn ((s State) (t State) (l Incarnation)) Bool (and
  (runs s l) (same_time s t) (same_incarnations s t)
  (<= (clock s l) (clock t l)) (<= (clock t l) (now s))
  (forall ((k Incarnation)) (=> (not (= k l)) (= (clock t k) (clock s k))))))

; ---- The steps ------------------------------------------------------------------------------
(define-fun Init ((s State)) Bool (and
  (forall ((l Incarnation)) (and (not (started s l)) (not (runs s l)) (not (bound s l)) (not (holds s l)) (not (releasing s l))))
  (forall ((l Incarnation) (m Member)) (not (asking s l m)))
  (forall ((x Advert)) (not (sent s x)))
  (forall ((m Member)) (not (effective s m)))))

; Time passes.
(define-fun Tick ((s State) (t State)) Bool (and (<= (now s) (now t)) (same_sent s t)
  (same_incarnations s t) (forall ((k Incarnation)) (= (clock t k) (clock s k)))
  (same_votes s t) (same_asking s t) (same_roles s t) (same_gates s t)))

; R-9: incarnation l starts. The lock: no other incarnation of the member runs. Then quarantine. The gate may be shut,
; as R-9 wants it, or not: S1 does not depend on that, for quarantine outlasts every earlier hold.
(define-fun Start ((s State) (t State) (l Incarnation)) Bool (and
  (not (started s l)) (started t l) (runs t l) (= (clock t l) (now s))
  (=> one_process (forall ((k Incarnation)) (=> (= (member k) (member l)) (not (runs s k)))))
  (forall ((k Incarnation)) (=> (and (started s k) (= (member k) (member l))) (earlier k l)))
  (ite quarantine (<= (+ (now s) G) (ready_at t l)) (= (ready_at t l) (now s)))
  (<= (gate t (member l)) (gate s (member l))) (not (releasing t l))
  (= (holds t l) (holds s l))
  (same_proof s t (member l))
  (forall ((k Incarnation) (m Member)) (and (= (asking t k m) (asking s k m)) (= (since t k m) (since s k m))
    (= (revoked t k m) (ite (= k l) (now s) (revoked s k m)))))
  (same_time s t) (same_sent s t) (same_incarnation_but s t l) (same_votes s t) (same_roles_but s t l)
  (same_gates_but s t (member l))))

; The process of incarnation l dies. Its kernel goes on.
(define-fun Crash ((s State) (t State) (l Incarnation)) Bool (and
  (runs s l) (not (runs t l)) (= (started t l) (started s l)) (= (ready_at t l) (ready_at s l))
  (= (clock t l) (clock s l))
  (same_time s t) (same_sent s t) (same_incarnation_but s t l) (same_votes s t) (same_asking s t) (same_roles s t)
  (same_gates s t)))

; A gate shuts early: the guard, or the whole machine with a crash before or after.
(define-fun Shut ((s State) (t State) (m Member)) Bool (and
  (<= (gate t m) (gate s m)) (same_proof s t m)
  (same_time s t) (same_sent s t) (same_incarnations s t) (forall ((k Incarnation)) (= (clock t k) (clock s k)))
  (same_votes s t) (same_asking s t) (same_roles s t) (same_gates_but s t m)))

; Incarnation l sends an advert that asks.
(define-fun SendAsk ((s State) (t State) (l Incarnation) (x Advert)) Bool (and
  (turn s t l) (= (kind x) asks) (= (from x) l) (= (stamp x) (clock t l))
  (forall ((y Advert)) (= (sent t y) (or (sent s y) (= y x))))
  (asking t l (to x)) (= (revoked t l (to x)) (revoked s l (to x)))
  (= (since t l (to x)) (ite (asking s l (to x)) (since s l (to x)) (clock t l)))
  (forall ((k Incarnation) (m Member)) (=> (not (and (= k l) (= m (to x))))
    (and (= (asking t k m) (asking s k m)) (= (since t k m) (since s k m)) (= (revoked t k m) (revoked s k m)))))
  (same_votes s t) (same_roles s t) (same_gates s t)))

; Incarnation l sends an advert that does not ask. R-5: not while it holds, unless its hold is over by kappa.
(define-fun SendNoAsk ((s State) (t State) (l Incarnation) (x Advert)) Bool (and
  (turn s t l) (= (kind x) asks_not) (= (from x) l) (= (stamp x) (clock t l))
  (=> asks_while_held (or (not (holds s l)) (<= (gate s (member l)) (clock t l))))
  (forall ((y Advert)) (= (sent t y) (or (sent s y) (= y x))))
  (not (asking t l (to x))) (= (revoked t l (to x)) (clock t l))
  (forall ((k Incarnation) (m Member)) (=> (not (and (= k l) (= m (to x))))
    (and (= (asking t k m) (asking s k m)) (= (since t k m) (since s k m)) (= (revoked t k m) (revoked s k m)))))
  (same_votes s t) (same_roles s t) (same_gates s t)))

; R-4: an ask has arrived at incarnation k, and binds its vote. That may come later than the arrival (a vote
; that becomes free is offered to the latest ask), but it counts from the arrival, which is no earlier
; than the sending; so no less than F from there is all that is known.
(define-fun Vote ((s State) (t State) (k Incarnation) (x Advert)) Bool (and
  (turn s t k) (sent s x) (= (kind x) asks) (= (to x) (member k))
  (<= (ready_at s k) (clock t k))
  (=> holder_never_votes (not (holds s k)))
  (=> live_vote_stays (=> (bound s k) (= (owner s k) (from x))))
  (bound t k) (= (owner t k) (from x))
  (let ((renews (and (bound s k) (= (owner s k) (from x)))))
    (and (= (asked_at t k) (ite (and renews (< (stamp x) (asked_at s k))) (asked_at s k) (stamp x)))
         (<= (+ (stamp x) F) (until t k)) (=> renews (<= (until s k) (until t k)))))
  (same_sent s t) (same_votes_but s t k) (same_asking s t) (same_roles s t) (same_gates s t)))

; Incarnation k sends an advert that says its vote.
(define-fun Tell ((s State) (t State) (k Incarnation) (x Advert)) Bool (and
  (turn s t k) (bound s k) (= (kind x) votes) (= (from x) k) (= (vote_for x) (owner s k))
  (= (stamp x) (asked_at s k))
  (forall ((y Advert)) (= (sent t y) (or (sent s y) (= y x))))
  (same_votes s t) (same_asking s t) (same_roles s t) (same_gates s t)))

; R-5: a vote ends by time.
(define-fun Expire ((s State) (t State) (k Incarnation)) Bool (and
  (turn s t k) (<= (until s k) (clock t k)) (not (bound t k))
  (same_sent s t) (same_votes_but s t k) (same_asking s t) (same_roles s t) (same_gates s t)))

; R-5: a vote ends by an advert of its owner that does not ask and was sent after the ask.
(define-fun Free ((s State) (t State) (k Incarnation) (x Advert)) Bool (and
  (turn s t k) (sent s x) (= (kind x) asks_not) (= (to x) (member k)) (= (from x) (owner s k))
  (=> newer_only (< (asked_at s k) (stamp x)))
  (not (bound t k))
  (same_sent s t) (same_votes_but s t k) (same_asking s t) (same_roles s t) (same_gates s t)))

; R-7, R-8: incarnation l takes or renews a hold. For every other member v of a quorum q there is an advert
; heard_of(v) that carries v's vote for this incarnation, for an unrevoked ask no older than a. The lease counts
; from a. An old hold that lasts longer stays: a lease never shrinks.
(declare-fun heard_of (State Member) Advert)
(define-fun Hold ((s State) (t State) (l Incarnation) (q Quorum) (a Real)) Bool (and
  (turn s t l) (<= (ready_at s l) (clock t l)) (=> own_vote (not (bound s l)))
  (=> release_first (not (releasing s l)))
  (in (member l) q) (<= a (clock t l))
  (forall ((v Member)) (=> (and (in v q) (not (= v (member l))))
    (and (sent s (heard_of s v)) (= (kind (heard_of s v)) votes) (= (member (from (heard_of s v))) v)
      (= (member (vote_for (heard_of s v))) (member l))
      (=> same_incarnation (= (vote_for (heard_of s v)) l))
      (asking s l v)
      ; the clock of another incarnation may have begun again: then its numbers say nothing
      (=> (= (vote_for (heard_of s v)) l)
        (and (<= a (stamp (heard_of s v))) (=> revocation (<= (since s l v) (stamp (heard_of s v)))))))))
  (holds t l) (= (releasing t l) (releasing s l)) (= (done t l) (done s l))
  (let ((m (member l)))
    (or (and (= (gate t m) (gate s m)) (same_proof s t m))
        (and (<= (gate s m) (gate t m))
             (<= (gate t m) (+ (ite from_the_ask a (clock t l)) E))
             (= (h_incarnation t m) l) (= (h_quorum t m) q)
             (forall ((v Member)) (= (h_voter t m v) (from (heard_of s v)))))))
  (same_sent s t) (same_votes s t) (same_asking s t) (same_roles_but s t l)
  (same_gates_but s t (member l))))

; R-8: incarnation l lets go; then its kernel does; then it hears so.
(define-fun Release ((s State) (t State) (l Incarnation)) Bool (and
  (turn s t l) (holds s l) (not (releasing s l)) (holds t l) (releasing t l) (not (done t l))
  (same_sent s t) (same_votes s t) (same_asking s t) (same_roles_but s t l) (same_gates s t)))
(define-fun Mute ((s State) (t State) (l Incarnation)) Bool (and
  (turn s t l) (releasing s l) (= (holds t l) (holds s l)) (releasing t l) (done t l)
  (<= (gate t (member l)) (now s)) (same_proof s t (member l))
  (same_sent s t) (same_votes s t) (same_asking s t) (same_roles_but s t l)
  (same_gates_but s t (member l))))
(define-fun Confirmed ((s State) (t State) (l Incarnation)) Bool (and
  (turn s t l) (releasing s l) (done s l) (not (holds t l)) (not (releasing t l)) (not (done t l))
  (same_sent s t) (same_votes s t) (same_asking s t) (same_roles_but s t l) (same_gates s t)))

(define-fun all_guards () Bool (and long_enough live_vote_stays holder_never_votes revocation
  asks_while_held newer_only same_incarnation own_vote from_the_ask release_first one_process quarantine))
(define-fun all_but_one () Bool ((_ at-least 11) long_enough live_vote_stays holder_never_votes revocation
  asks_while_held newer_only same_incarnation own_vote from_the_ask release_first one_process quarantine))

; ---------------------------------------------------------------------------------------------
; What holds
; ---------------------------------------------------------------------------------------------
(declare-const s State)
(declare-const t State)
(declare-const l Incarnation)
(declare-const x Advert)
(declare-const m Member)
(declare-const q Quorum)
(declare-const a Real)

(push)
(assert all_guards)

(echo "two majorities of the same n members share one: 2 (n div 2 + 1) > n")
(push)
(declare-const n Int)
(declare-const majority Int)
(assert (and (>= n 1) (= majority (+ (div n 2) 1))))
(assert (not (> (+ majority majority) n)))
(check-sat) ; expect: unsat
(pop)

(echo "the invariant implies S1")
(push)
(assert (Inv s))
(assert (not (S1 s)))
(check-sat) ; expect: unsat
(pop)

(echo "the invariant holds at the beginning")
(push)
(assert (Init s))
(assert (not (Inv s)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: time passes")
(push)
(assert (and (Inv s) (Tick s t)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: an incarnation starts (R-9)")
(push)
(assert (and (Inv s) (Start s t l)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: a process dies, its kernel goes on")
(push)
(assert (and (Inv s) (Crash s t l)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: a gate shuts early")
(push)
(assert (and (Inv s) (Shut s t m)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: an ask is sent")
(push)
(assert (and (Inv s) (SendAsk s t l x)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: an advert that does not ask is sent (R-3, R-5)")
(push)
(assert (and (Inv s) (SendNoAsk s t l x)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: an ask binds or renews a vote (R-4)")
(push)
(assert (and (Inv s) (Vote s t l x)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: an advert says a vote")
(push)
(assert (and (Inv s) (Tell s t l x)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: a vote ends by time (R-5)")
(push)
(assert (and (Inv s) (Expire s t l)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: a vote is freed by its owner (R-5)")
(push)
(assert (and (Inv s) (Free s t l x)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: a hold is taken or renewed (R-7, R-8)")
(push)
(assert (and (Inv s) (Hold s t l q a)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: a release is begun (R-8)")
(push)
(assert (and (Inv s) (Release s t l)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: the kernel does it")
(push)
(assert (and (Inv s) (Mute s t l)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)

(echo "kept: it is confirmed")
(push)
(assert (and (Inv s) (Confirmed s t l)))
(assert (not (Inv t)))
(check-sat) ; expect: unsat
(pop)
(pop)

; ---------------------------------------------------------------------------------------------
; What does not hold: runs from the beginning to two effective addresses, each without one guard
; ---------------------------------------------------------------------------------------------
; Three members and three majorities of two. Each run is checked twice: with all guards it is
; impossible (unsat), without the one it is possible (sat). The first shows that the model is not empty.
(push)
(declare-const A Member)
(declare-const B Member)
(declare-const W Member)
(assert (distinct A B W))
(assert (forall ((m Member)) (or (= m A) (= m B) (= m W))))
(declare-const AB Quorum)
(declare-const AW Quorum)
(declare-const BW Quorum)
(assert (forall ((q Quorum)) (or (= q AB) (= q AW) (= q BW))))
(assert (and (in A AB) (in B AB) (not (in W AB)) (in A AW) (not (in B AW)) (in W AW)
             (not (in A BW)) (in B BW) (in W BW)))
(declare-const a1 Incarnation)
(declare-const b1 Incarnation)
(declare-const w1 Incarnation)
(declare-const z2 Incarnation) ; a second incarnation, of A or of W
(assert (distinct a1 b1 w1 z2))
(assert (forall ((l Incarnation)) (or (= l a1) (= l b1) (= l w1) (= l z2))))
(assert (and (= (member a1) A) (= (member b1) B) (= (member w1) W)))
(declare-const x1 Advert)
(declare-const x2 Advert)
(declare-const x3 Advert)
(declare-const x4 Advert)
(declare-const x5 Advert)
(declare-const x6 Advert)
(assert (distinct x1 x2 x3 x4 x5 x6))
(assert (forall ((x Advert)) (or (= x x1) (= x x2) (= x x3) (= x x4) (= x x5) (= x x6))))

(declare-const s0 State)
(declare-const s1 State)
(declare-const s2 State)
(declare-const s3 State)
(declare-const s4 State)
(declare-const s5 State)
(declare-const s6 State)
(declare-const s7 State)
(declare-const s8 State)
(declare-const s9 State)
(declare-const s10 State)
(declare-const s11 State)
(declare-const s12 State)
(declare-const s13 State)
(declare-const s14 State)
(declare-const s15 State)
(declare-const s16 State)
(declare-const s17 State)
(declare-const s18 State)
(declare-const s19 State)
(declare-const s20 State)
(declare-const s21 State)
(declare-const s22 State)
(declare-const s23 State)
(define-fun two ((s State)) Bool (and (effective s A) (effective s B)))
; All start, and time passes.
(assert (and (Init s0) (Start s0 s1 a1) (Start s1 s2 b1) (Start s2 s3 w1) (Tick s3 s4)))

(echo "all guards: A holds, lets go, B holds")
(push)
(declare-const h7 Real)
(declare-const h16 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (effective s8 A)
  (Release s8 s9 a1)
  (Mute s9 s10 a1)
  (Confirmed s10 s11 a1)
  (SendNoAsk s11 s12 a1 x5) (= (to x5) W)
  (Free s12 s13 w1 x5)
  (SendAsk s13 s14 b1 x3) (= (to x3) W)
  (Vote s14 s15 w1 x3)
  (Tell s15 s16 w1 x4)
  (Hold s16 s17 b1 BW h16)))
(assert (effective s17 B))
(assert all_guards)
(check-sat) ; expect: sat
(get-value (E F G (now s17) (gate s17 A) (gate s17 B)))
(pop)

(echo "all guards: A holds, crashes, its vote ends by time, B holds")
(push)
(declare-const h7 Real)
(declare-const h14 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (effective s8 A)
  (Crash s8 s9 a1)
  (Tick s9 s10)
  (Expire s10 s11 w1)
  (SendAsk s11 s12 b1 x3) (= (to x3) W)
  (Vote s12 s13 w1 x3)
  (Tell s13 s14 w1 x4)
  (Hold s14 s15 b1 BW h14)))
(assert (effective s15 B))
(assert all_guards)
(check-sat) ; expect: sat
(get-value (E F G (now s15) (gate s15 A) (gate s15 B)))
(pop)

(echo "without the inequality: the vote ends before the gate is shut")
(push)
(declare-const h7 Real)
(declare-const h13 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (Tick s8 s9)
  (Expire s9 s10 w1)
  (SendAsk s10 s11 b1 x3) (= (to x3) W)
  (Vote s11 s12 w1 x3)
  (Tell s12 s13 w1 x4)
  (Hold s13 s14 b1 BW h13)))
(assert (two s14))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not long_enough)))
(check-sat) ; expect: sat
(get-value (E F G (now s14) (gate s14 A) (gate s14 B)))
(pop)
(pop)

(echo "without R-4: a live vote moves")
(push)
(declare-const h7 Real)
(declare-const h11 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (SendAsk s8 s9 b1 x3) (= (to x3) W)
  (Vote s9 s10 w1 x3)
  (Tell s10 s11 w1 x4)
  (Hold s11 s12 b1 BW h11)))
(assert (two s12))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not live_vote_stays)))
(check-sat) ; expect: sat
(get-value (E F G (now s12) (gate s12 A) (gate s12 B)))
(pop)
(pop)

(echo "without R-4, R-6: a holder votes")
(push)
(declare-const h7 Real)
(declare-const h11 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (SendAsk s8 s9 b1 x3) (= (to x3) A)
  (Vote s9 s10 a1 x3)
  (Tell s10 s11 a1 x4)
  (Hold s11 s12 b1 AB h11)))
(assert (two s12))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not holder_never_votes)))
(check-sat) ; expect: sat
(get-value (E F G (now s12) (gate s12 A) (gate s12 B)))
(pop)
(pop)

(echo "without R-6: one whose own vote is bound takes hold")
(push)
(declare-const h7 Real)
(declare-const h11 Real)
(assert (and (SendAsk s4 s5 b1 x3) (= (to x3) A)
  (Vote s5 s6 a1 x3)
  (Tell s6 s7 a1 x4)
  (Hold s7 s8 b1 AB h7)
  (SendAsk s8 s9 a1 x1) (= (to x1) W)
  (Vote s9 s10 w1 x1)
  (Tell s10 s11 w1 x2)
  (Hold s11 s12 a1 AW h11)))
(assert (two s12))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not own_vote)))
(check-sat) ; expect: sat
(get-value (E F G (now s12) (gate s12 A) (gate s12 B)))
(pop)
(pop)

(echo "without R-3: a vote is counted for an ask that was revoked")
(push)
(declare-const h12 Real)
(declare-const h14 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (SendNoAsk s7 s8 a1 x5) (= (to x5) W)
  (Free s8 s9 w1 x5)
  (SendAsk s9 s10 b1 x3) (= (to x3) W)
  (Vote s10 s11 w1 x3)
  (Tell s11 s12 w1 x4)
  (Hold s12 s13 b1 BW h12)
  (SendAsk s13 s14 a1 x6) (= (to x6) W)
  (Hold s14 s15 a1 AW h14)))
(assert (two s15))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not revocation)))
(check-sat) ; expect: sat
(get-value (E F G (now s15) (gate s15 A) (gate s15 B)))
(pop)
(pop)

(echo "without the second half of R-5: a holder stops asking")
(push)
(declare-const h7 Real)
(declare-const h13 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (SendNoAsk s8 s9 a1 x5) (= (to x5) W)
  (Free s9 s10 w1 x5)
  (SendAsk s10 s11 b1 x3) (= (to x3) W)
  (Vote s11 s12 w1 x3)
  (Tell s12 s13 w1 x4)
  (Hold s13 s14 b1 BW h13)))
(assert (two s14))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not asks_while_held)))
(check-sat) ; expect: sat
(get-value (E F G (now s14) (gate s14 A) (gate s14 B)))
(pop)
(pop)

(echo "without the order in R-5: an old advert that does not ask frees the vote")
(push)
(declare-const h8 Real)
(declare-const h13 Real)
(assert (and (SendNoAsk s4 s5 a1 x5) (= (to x5) W)
  (SendAsk s5 s6 a1 x1) (= (to x1) W)
  (Vote s6 s7 w1 x1)
  (Tell s7 s8 w1 x2)
  (Hold s8 s9 a1 AW h8)
  (Free s9 s10 w1 x5)
  (SendAsk s10 s11 b1 x3) (= (to x3) W)
  (Vote s11 s12 w1 x3)
  (Tell s12 s13 w1 x4)
  (Hold s13 s14 b1 BW h13)))
(assert (two s14))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not newer_only)))
(check-sat) ; expect: sat
(get-value (E F G (now s14) (gate s14 A) (gate s14 B)))
(pop)
(pop)

(echo "without the incarnation in R-7: a later incarnation of A counts a vote for an earlier one")
(push)
(declare-const h14 Real)
(declare-const h16 Real)
(assert (= (member z2) A))
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Crash s7 s8 a1)
  (Start s8 s9 z2)
  (Tick s9 s10)
  (Expire s10 s11 w1)
  (SendAsk s11 s12 b1 x3) (= (to x3) W)
  (Vote s12 s13 w1 x3)
  (Tell s13 s14 w1 x4)
  (Hold s14 s15 b1 BW h14)
  (SendAsk s15 s16 z2 x6) (= (to x6) W)
  (Hold s16 s17 z2 AW h16)))
(assert (two s17))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not same_incarnation)))
(check-sat) ; expect: sat
(get-value (E F G (now s17) (gate s17 A) (gate s17 B)))
(pop)
(pop)

(echo "lease counted from the arrival of the vote, not from the ask (R-7)")
(push)
(declare-const h12 Real)
(declare-const h13 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Tick s7 s8)
  (Expire s8 s9 w1)
  (SendAsk s9 s10 b1 x3) (= (to x3) W)
  (Vote s10 s11 w1 x3)
  (Tell s11 s12 w1 x4)
  (Hold s12 s13 b1 BW h12)
  (Hold s13 s14 a1 AW h13)))
(assert (two s14))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not from_the_ask)))
(check-sat) ; expect: sat
(get-value (E F G (now s14) (gate s14 A) (gate s14 B)))
(pop)
(pop)

(echo "without R-8: a hold between a release and its confirmation")
(push)
(declare-const h7 Real)
(declare-const h10 Real)
(declare-const h17 Real)
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (Release s8 s9 a1)
  (Mute s9 s10 a1)
  (Hold s10 s11 a1 AW h10)
  (Confirmed s11 s12 a1)
  (SendNoAsk s12 s13 a1 x5) (= (to x5) W)
  (Free s13 s14 w1 x5)
  (SendAsk s14 s15 b1 x3) (= (to x3) W)
  (Vote s15 s16 w1 x3)
  (Tell s16 s17 w1 x4)
  (Hold s17 s18 b1 BW h17)))
(assert (two s18))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not release_first)))
(check-sat) ; expect: sat
(get-value (E F G (now s18) (gate s18 A) (gate s18 B)))
(pop)
(pop)

(echo "without the lock of R-9: two processes of W vote")
(push)
(declare-const h9 Real)
(declare-const h13 Real)
(assert (= (member z2) W))
(assert (and (Start s4 s5 z2)
  (Tick s5 s6)
  (SendAsk s6 s7 a1 x1) (= (to x1) W)
  (Vote s7 s8 w1 x1)
  (Tell s8 s9 w1 x2)
  (Hold s9 s10 a1 AW h9)
  (SendAsk s10 s11 b1 x3) (= (to x3) W)
  (Vote s11 s12 z2 x3)
  (Tell s12 s13 z2 x4)
  (Hold s13 s14 b1 BW h13)))
(assert (two s14))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not one_process)))
(check-sat) ; expect: sat
(get-value (E F G (now s14) (gate s14 A) (gate s14 B)))
(pop)
(pop)

(echo "without quarantine (R-9): W restarts and votes again")
(push)
(declare-const h7 Real)
(declare-const h13 Real)
(assert (= (member z2) W))
(assert (and (SendAsk s4 s5 a1 x1) (= (to x1) W)
  (Vote s5 s6 w1 x1)
  (Tell s6 s7 w1 x2)
  (Hold s7 s8 a1 AW h7)
  (Crash s8 s9 w1)
  (Start s9 s10 z2)
  (SendAsk s10 s11 b1 x3) (= (to x3) W)
  (Vote s11 s12 z2 x3)
  (Tell s12 s13 z2 x4)
  (Hold s13 s14 b1 BW h13)))
(assert (two s14))
(push)
(assert all_guards)
(check-sat) ; expect: unsat
(pop)
(push)
(assert (and all_but_one (not quarantine)))
(check-sat) ; expect: sat
(get-value (E F G (now s14) (gate s14 A) (gate s14 B)))
(pop)
(pop)

(pop)

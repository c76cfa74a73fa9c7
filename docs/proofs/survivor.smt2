; R-14, `survivor`: what the timing alone gives. Two members: a *holder*, and a *standby* that takes hold
; after a silence of (H + kappa + 1.5 i) (1 + rho) / (1 - rho). All inequalities are for all reals that
; satisfy the assumptions stated.
;
; `unsat` after a claim's negation: the claim holds. `sat`: a counterexample exists, and one is printed.
; This file is not an induction: each claim is about one way in which the two can come close, and the
; list of ways (1 to 4) was made by hand from R-13, R-14 and R-18. What it can't show is said in place. 5 is
; about service.
;
; The unit of time is i, so i = 1 (100 ms with the default timing); the origin of time is q.
; True times are reals. As in inequalities.smt2 a clock advances over a span by `rate` * span, with a
; rate in [1 - rho, 1 + rho] for each span by itself.
;   a      the holder reads its clock for the newest advert that its lease rests on
;   shut   its gate is shut: H + late later by its clock, 0 <= late <= kappa
;   q      the standby reads its clock for its last sign of life (or it wakes, or ends quarantine)
;   T      the standby takes hold: standby_waits later by its clock
(set-logic QF_NRA)
(declare-const H Real)
(declare-const kappa Real)
(declare-const rho Real)
(declare-const D Real)
(declare-const a Real)
(declare-const shut Real)
(declare-const late Real)
(declare-const gh Real)
(define-fun q () Real 0.0) ; the origin of time
(declare-const T Real)
(declare-const gs Real)
(define-fun rate ((g Real)) Bool (and (<= (- 1.0 rho) g) (<= g (+ 1.0 rho))))
(define-fun half () Real 0.5)          ; Timing::oversleep: what is later is noticed as sleep (R-13)
(define-fun more () Real 1.5)          ; Timing::late
(declare-const presume_after Real)     ; Timing::presume_after
(declare-const survive_after Real)     ; Timing::survive_after
(assert (and (>= H 3.0) (<= 0.0 kappa) (<= kappa H) (<= 0.0 rho) (<= rho 0.1)))
(assert (= (* D (- 1.0 rho)) (* (+ H kappa) (+ 1.0 rho))))
(assert (= (* presume_after (- 1.0 rho)) (* 2.5 (+ 1.0 rho))))
(assert (= (* survive_after (- 1.0 rho)) (* (+ H kappa more) (+ 1.0 rho))))
(assert (and (rate gh) (<= 0.0 late) (<= late kappa) (= (* gh (- shut a)) (+ H late))))
(assert (rate gs))
(define-fun standby_waits ((p Real)) Bool (= (* gs (- T q)) p))
(define-fun default () Bool (and (= H 4.5) (= kappa 0.05) (= rho 0.001)))
(define-fun shortest () Bool (and (= H 3.0) (= kappa 0.05) (= rho 0.001)))
(define-fun worst () Bool (and (= gh (- 1.0 rho)) (= gs (+ 1.0 rho)) (= late kappa)))

; ---------------------------------------------------------------------------------------------
; 1. The lease rests on an advert that the standby accepted, and has echoed.
;    Its arrival was a sign of life, so q is no earlier than that, and that no earlier than a.
; ---------------------------------------------------------------------------------------------
(echo "1. echoed: the gate is shut before the standby takes hold, even after D alone")
(push)
(assert (and (<= a q) (standby_waits D)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "1. echoed in quarantine: silence counts from its end, no earlier than the arrival")
(push)
(declare-const arrived Real)
(assert (and (<= a arrived) (<= arrived q) (standby_waits survive_after)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

; ---------------------------------------------------------------------------------------------
; 2. The lease rests on what the holder sent. It read its clock at b for the last advert that has arrived
;    (at q >= b), and at a for the next one, which an earlier turn has sent, and which was lost; or it is
;    under way. By its clock a - b <= i + i/2: an advert is due each i, and one that runs more than i/2
;    after it was due is noticed as sleep (R-13). A turn that is paused between reading its clock and
;    sending makes no lease before a later turn (R-14). (A suspicion that outlives a sleep, R-13, is not
;    in this.)
; ---------------------------------------------------------------------------------------------
(declare-const b Real)
(declare-const gb Real)
(define-fun paused_in_turn () Bool
  (and (rate gb) (<= b a) (<= b q) (<= (* gb (- a b)) (+ 1.0 half))))

; The same clock may run at one rate from b to a and at another from a to shut.
(echo "2. sent: enough, whatever the clocks")
(push)
(assert (and paused_in_turn (standby_waits survive_after)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: nothing less is, for any timing")
(push)
(declare-const less Real)
(assert (and paused_in_turn (<= 0.0 less) (< less survive_after) (standby_waits less)))
(assert (and worst (= gb (- 1.0 rho)) (= b q) (= (* gb (- a b)) more)))
(assert (not (> shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: D alone is not")
(push)
(assert (and paused_in_turn (standby_waits D) default (= gh gs gb 1.0) (= late kappa)))
(assert (> shut (+ T 1.4)))
(check-sat) ; expect: sat
(get-value (b a shut T))
(pop)

(echo "2. sent: nor is D + 1.5 i: 1.5 i of the holder's clock may outlast the standby's")
(push)
(assert (and paused_in_turn (standby_waits (+ D more)) default worst (= gb (- 1.0 rho))))
(assert (> shut T))
(check-sat) ; expect: sat
(get-value (b a shut T))
(pop)

(echo "2. sent: it has read its clock for no second advert by then, if an advert takes less than 1.5 i / (1 + rho)")
; The second one is read at c, after the first was sent, and that is less than `delay` before T: else
; it would have arrived. If c were before T, and no sleep was noticed before either:
(push)
(declare-const c Real)
(declare-const gc Real)
(declare-const delay Real)
(assert (and paused_in_turn (rate gc) (<= (* gc (- c a)) (+ 1.0 half)) (standby_waits survive_after)))
(assert (and (<= 0.0 delay) (< (* delay (+ 1.0 rho)) more)))
(assert (> c (- T delay)))
(check-sat) ; expect: unsat
(pop)

; What it was before: the advert of the same turn counted, though the turn may be paused before it sends.
(echo "2. sent: a lost advert and the reading of a turn that has not sent are too long for 1.5 i")
(push)
(declare-const lost Real)
(assert (and (<= b lost) (<= lost a) (<= (* gb (- lost b)) (+ 1.0 half)) (<= (* gb (- a lost)) (+ 1.0 half))))
(assert (and (= gb 1.0) (<= b q) (standby_waits survive_after) default (= gh gs 1.0) (= late kappa)))
(assert (> shut T))
(check-sat) ; expect: sat
(get-value (b lost a shut T))
(pop)

; ---------------------------------------------------------------------------------------------
; 3. The holder presumed a peer dead that wakes up, or ends quarantine, and hears nothing (a standing cut
;    from the holder to it). Its silence counts from q. The holder goes by what it sent until the first
;    word of the peer is handled, at q + delay: a <= q + delay. After that, see 4.
;    `delay` is all of it: until the word is sent, under way, and until it is handled. The peer speaks in
;    the turn in which it knows that it slept (R-13, R-14). If that turn takes more than i/2, it is sleep
;    too, and q is its end, when the word is under way. A word that waits in the holder's socket is
;    handled before the holder concludes anything from the time (R-2).
; ---------------------------------------------------------------------------------------------
(declare-const delay3 Real)
(define-fun deaf () Bool (and (<= 0.0 delay3) (<= a (+ q delay3))))
(declare-const stop Real)    ; true time
(declare-const gd Real)
(declare-const network Real)

(echo "3. deaf: enough if its turn takes up to i/2 by its clock, and the network i/4")
(push)
(assert (and (rate gd) (<= 0.0 stop) (<= (* gd stop) half) (<= 0.0 network 0.25) (= delay3 (+ stop network))))
(assert (and deaf (standby_waits survive_after)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "3. deaf: it would be for any delay up to 1.5 i / (1 - rho)")
(push)
(assert (and deaf (standby_waits survive_after) (<= (* delay3 (- 1.0 rho)) more)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "3. deaf: and for none that is longer")
(push)
(assert (and (> (* delay3 (- 1.0 rho)) more) (= a (+ q delay3)) (standby_waits survive_after) worst))
(assert (not (> shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "3. deaf: D alone is not, for any delay above zero, whatever the timing")
(push)
(assert (and (> delay3 0.0) (= a (+ q delay3)) (standby_waits D) worst))
(assert (not (> shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "3. deaf: NOT without knowing how long a turn takes: a stop of 1.5 i before it sends, and 10 ms of network")
(push)
(assert (and (<= stop more) (= network 0.1) (= delay3 (+ stop network))))
(assert (and deaf (standby_waits survive_after) default (= gh gs 1.0) (= late kappa)))
(assert (> shut T))
(check-sat) ; expect: sat
(get-value (stop network a shut T))
(pop)

; ---------------------------------------------------------------------------------------------
; 4. A standing cut from the holder to the standby; the standby's words arrive. q is the last word that
;    the standby got. Then the holder's lease must rest on what the standby echoed (1). It does unless the
;    holder presumes, and it presumes when by its clock 2.5 i (1 + rho) / (1 - rho) have passed between two
;    words that it handles. If that happens while its lease runs, it goes by what it sends until the next
;    word, at q + gap.
;    One word was read at s0, and left at l0; the next was read at s1, and left at l1. n0 and n1 is what
;    they are under way.
; ---------------------------------------------------------------------------------------------
(declare-const l0 Real)
(declare-const l1 Real)
(declare-const s0 Real)
(declare-const s1 Real)
(declare-const n0 Real)
(declare-const n1 Real)
(declare-const gl Real) ; the standby's clock from s0 to s1
(declare-const gm Real) ; the standby's clock from s1 to l1
(declare-const gg Real) ; the holder's clock between the two words
(define-fun between () Real (- (+ l1 n1) (+ l0 n0)))
(assert (and (<= s0 l0) (<= l0 s1) (<= s1 l1) (<= 0.0 n0) (<= 0.0 n1) (rate gl) (rate gm) (rate gg)))
; The next word is due within i + i/4 (R-18), and that turn may be i/2 late: `apart`. It then takes `turn`.
; If either is longer it is noticed as sleep, and 3 is about that.
(define-fun spoken ((apart Real) (turn Real)) Bool
  (and (<= (* gl (- s1 s0)) apart) (<= (* gm (- l1 s1)) turn)))

(echo "4. cut one way: the holder presumes nothing, whatever the lease and the clocks, if no word takes more than i/4")
; At most so long: a word that is handled in that very turn ends the silence first.
(push)
(assert (and (spoken 1.75 half) (<= n1 0.25)))
(assert (not (<= (* gg between) presume_after)))
(check-sat) ; expect: unsat
(pop)

(echo "4. cut one way: nothing less than 2.5 i is enough")
(push)
(declare-const less Real)
(assert (and (< less 2.5) (= s0 l0) (= gl gm gg 1.0) (= (- s1 s0) 1.75) (= (- l1 s1) half) (= n0 0.0) (= n1 0.25)))
(assert (not (> (* gg between) less)))
(check-sat) ; expect: unsat
(pop)

; What it was before: D/2 and D + 1.5 i, and R-13 knew of no long turn.
(define-fun presumed ((after Real)) Bool
  (and (= gl gm gs gg gh 1.0) (= late kappa) (= n0 n1 0.0) (= s0 l0) (>= between after) (<= a (+ l1 n1))))

(echo "4. cut one way: D/2 is not, for a lease of 3 i: one turn that is i/2 late is enough")
(push)
(assert (and shortest (spoken 1.75 0.0) (= q s0) (presumed (/ D 2.0)) (standby_waits (+ D more))))
(assert (> shut (+ T 0.2)))
(check-sat) ; expect: sat
(get-value (D s0 l1 a shut T))
(pop)

; If that late turn is also paused between reading its clock and sending: the next one is due i/4 later
; (R-18), and may be i/2 late unnoticed.
(echo "4. cut one way: nor for the default timing, if that turn is also paused before it sends")
(push)
(assert (and default (spoken 1.75 0.75) (= q s0) (presumed (/ D 2.0)) (standby_waits (+ D more))))
(assert (> shut (+ T 0.9)))
(check-sat) ; expect: sat
(get-value (D s0 l1 a shut T))
(pop)

; The standby may get its last word when its own next one is nearly due. Then it is in no hurry: the word
; after the late one is due 1.5 i after what it got.
(echo "4. cut one way: nor is 2.5 i, if no long turn is known: two for up to i/2")
(push)
(assert (and default (spoken 1.75 1.5) (= q (+ s0 1.25)) (presumed presume_after) (standby_waits survive_after)))
(assert (> shut (+ T 0.45)))
(check-sat) ; expect: sat
(get-value (s0 q s1 l1 a shut T))
(pop)

; ---------------------------------------------------------------------------------------------
; 5. Service, not safety. The standby dies. Two asks were lost before, so that its last word echoed one that
;    it had got 1.75 i before (R-18). Does the lease still run when the holder may presume?
; ---------------------------------------------------------------------------------------------
(declare-const age Real)   ; true time from that ask's arrival to the last word
(declare-const trip Real)  ; the way of the ask and of the word
(define-fun last_word ((H1 Real)) Bool
  (and (<= (* gs age) 1.75) (<= 0.0 trip 0.2) (<= rho 0.001)
       (not (< (+ (* gg (+ age trip)) presume_after) H1))))

(echo "5. alone: it does, for H >= 4.5 i, a drift of at most 1000 ppm and a round trip of at most i/5")
(push)
(assert (and (>= H 4.5) (last_word H)))
(check-sat) ; expect: unsat
(pop)

(echo "5. alone: not for 4 i")
(push)
(assert (and (= H 4.0) (last_word H)))
(check-sat) ; expect: sat
(get-value (age trip presume_after))
(pop)

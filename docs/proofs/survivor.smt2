; R-14, `survivor`: what the timing alone gives. Two members: a *holder*, and a *standby* that takes hold
; after a silence of D + 1.5 i. All inequalities are for all reals that satisfy the assumptions stated.
;
; `unsat` after a claim's negation: the claim holds. `sat`: a counterexample exists, and one is printed.
; This file is not an induction: each claim is about one way in which the two can come close, and the
; list of ways (1 to 4) was made by hand from R-13, R-14 and R-18. What it can't show is said in place.
;
; The unit of time is i, so i = 1 (100 ms with the default timing); the origin of time is q.
; True times are reals. As in inequalities.smt2 a clock advances over a span by `rate` * span, with a
; rate in [1 - rho, 1 + rho] for each span by itself.
;   a      the holder reads its clock for the newest advert that its lease rests on
;   shut   its gate is shut: H + late later by its clock, 0 <= late <= kappa
;   q      the standby reads its clock for its last sign of life (or it wakes, or ends quarantine)
;   T      the standby takes hold: patience later by its clock
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
(define-fun presume_after () Real (/ D 2.0))
(assert (and (>= H 3.0) (<= 0.0 kappa) (<= kappa H) (<= 0.0 rho) (<= rho 0.1)))
(assert (= (* D (- 1.0 rho)) (* (+ H kappa) (+ 1.0 rho))))
(assert (and (rate gh) (<= 0.0 late) (<= late kappa) (= (* gh (- shut a)) (+ H late))))
(assert (rate gs))
(define-fun patience ((p Real)) Bool (= (* gs (- T q)) p))
(define-fun default () Bool (and (= H 4.5) (= kappa 0.05) (= rho 0.001)))
(define-fun shortest () Bool (and (= H 3.0) (= kappa 0.05) (= rho 0.001)))
(define-fun worst () Bool (and (= gh (- 1.0 rho)) (= gs (+ 1.0 rho)) (= late kappa)))

; ---------------------------------------------------------------------------------------------
; 1. The lease rests on an advert that the standby accepted, and has echoed.
;    Its arrival was a sign of life, so q is no earlier than that, and that no earlier than a.
; ---------------------------------------------------------------------------------------------
(echo "1. echoed: the gate is shut before the standby takes hold, even after D alone")
(push)
(assert (and (<= a q) (patience D)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "1. echoed in quarantine: silence counts from its end, no earlier than the arrival")
(push)
(declare-const arrived Real)
(assert (and (<= a arrived) (<= arrived q) (patience (+ D more))))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

; ---------------------------------------------------------------------------------------------
; 2. The lease rests on what the holder sent. Adverts get through; the holder is stopped.
;    It read its clock at b for the last advert that has arrived (at q >= b), and at a for the next one;
;    then it was stopped, before that one was sent. By its clock a - b <= i + i/2: an advert is due each i,
;    and one that runs more than i/2 after it was due is noticed as sleep (R-13). Its silence then starts
;    again, and for D/2 it presumes nothing.
; ---------------------------------------------------------------------------------------------
(declare-const b Real)
(declare-const gb Real)
(define-fun stopped_in_turn () Bool
  (and (rate gb) (<= b a) (<= b q) (<= (* gb (- a b)) (+ 1.0 half))))

(echo "2. sent: with clocks of one rate, D + 1.5 i is enough")
(push)
(assert (and stopped_in_turn (patience (+ D more)) (= gh gs gb 1.0)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: D alone is not")
(push)
(assert (and stopped_in_turn (patience D) default (= gh gs gb 1.0) (= late kappa)))
(assert (> shut (+ T 1.4)))
(check-sat) ; expect: sat
(get-value (b a shut T))
(pop)

(echo "2. sent: nothing less than 1.5 i is, for any timing with kappa and rho that are small beside it")
(push)
(declare-const less Real)
(assert (and stopped_in_turn (<= 0.0 less) (< less more) (patience (+ D less))))
(assert (and (= gh gs gb 1.0) (= rho 0.0) (= late kappa) (= b q) (= a more)))
(assert (not (> shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: NOT SHOWN with clocks that differ: 1.5 i of the holder's clock may outlast the standby's")
(push)
(assert (and stopped_in_turn (patience (+ D more)) default worst (= gb (- 1.0 rho))))
(assert (> shut T))
(check-sat) ; expect: sat
(get-value (b a shut T))
(pop)

(echo "2. sent: but never by more than 3 i rho / (1 - rho^2): 0.3 ms with the default timing")
(push)
(declare-const excess Real)
(assert (= (* excess (- 1.0 (* rho rho))) (* 3.0 rho)))
(assert (and stopped_in_turn (patience (+ D more))))
(assert (not (<= shut (+ T excess))))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: and not at all if every advert is under way for at least as long")
(push)
(declare-const excess Real)
(assert (= (* excess (- 1.0 (* rho rho))) (* 3.0 rho)))
(assert (and stopped_in_turn (patience (+ D more)) (>= q (+ b excess))))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: a patience of (H + kappa + 1.5 i) (1 + rho) / (1 - rho) would be enough for all clocks")
(push)
(declare-const p Real)
(assert (= (* p (- 1.0 rho)) (* (+ H kappa more) (+ 1.0 rho))))
(assert (and stopped_in_turn (patience p)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: it has read its clock for no second advert by then, if an advert takes less than 1.5 i / (1 + rho)")
; The second one is read at c, after the first was sent, and that is less than `delay` before T: else
; it would have arrived. If c were before T, and no sleep was noticed before either:
(push)
(declare-const c Real)
(declare-const gc Real)
(declare-const delay Real)
(assert (and stopped_in_turn (rate gc) (<= (* gc (- c a)) (+ 1.0 half)) (patience (+ D more))))
(assert (and (<= 0.0 delay) (< (* delay (+ 1.0 rho)) more)))
(assert (> c (- T delay)))
(check-sat) ; expect: unsat
(pop)

(echo "2. sent: NOT SHOWN with a lost advert: the stop and one loss together are too long for 1.5 i")
(push)
(declare-const lost Real)
(assert (and (<= b lost) (<= lost a) (<= (* gb (- lost b)) (+ 1.0 half)) (<= (* gb (- a lost)) (+ 1.0 half))))
(assert (and (= gb 1.0) (<= b q) (patience (+ D more)) default (= gh gs 1.0) (= late kappa)))
(assert (> shut T))
(check-sat) ; expect: sat
(get-value (b lost a shut T))
(pop)

; ---------------------------------------------------------------------------------------------
; 3. The holder presumed a peer dead that wakes up, or ends quarantine, and hears nothing (a standing cut
;    from the holder to it). Its silence counts from q. The holder goes by what it sent until the first
;    word of the peer is handled, at q + delay: a <= q + delay. After that, see 4.
;    `delay` is all of it: until the word is sent, under way, and until it is handled.
; ---------------------------------------------------------------------------------------------
(declare-const delay3 Real)
(define-fun deaf () Bool (and (<= 0.0 delay3) (<= a (+ q delay3))))

(echo "3. deaf: enough if the first word is handled within 1.5 i / (1 + rho)")
(push)
(assert (and deaf (patience (+ D more)) (<= (* delay3 (+ 1.0 rho)) more)))
(assert (not (<= shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "3. deaf: D alone is not, for any delay above zero, whatever the timing")
(push)
(assert (and (> delay3 0.0) (= a (+ q delay3)) (patience D) worst))
(assert (not (> shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "3. deaf: D + 1.5 i is not, for any longer delay")
(push)
(assert (and (> (* delay3 (+ 1.0 rho)) more) (= a (+ q delay3)) (patience (+ D more)) worst))
(assert (not (> shut T)))
(check-sat) ; expect: unsat
(pop)

(echo "3. deaf: NOT SHOWN if the waking peer is stopped again before it sends and the network is slow, too")
; A stop of 1.5 i in the middle of a turn is not noticed: the next turn is i/2 later than due. Alone it is
; just paid for; with 10 ms of network it is not.
(push)
(declare-const stop Real)
(declare-const network Real)
(assert (and (<= stop more) (= network 0.1) (= delay3 (+ stop network))))
(assert (and deaf (patience (+ D more)) default (= gh gs 1.0) (= late kappa)))
(assert (> shut T))
(check-sat) ; expect: sat
(get-value (stop network a shut T))
(pop)

; ---------------------------------------------------------------------------------------------
; 4. A standing cut from the holder to the standby; the standby's words arrive. q is the last word that
;    the standby got. Then the holder's lease must rest on what the standby echoed (1). It does unless the
;    holder presumes, and it presumes when by its clock D/2 have passed between two words that it handles.
;    If that happens while its lease runs, it goes by what it sends until the next word, at q + gap.
; ---------------------------------------------------------------------------------------------
(declare-const gap Real) ; the true time from q to the next word of the standby, as the holder handles it
(declare-const gg Real)
(declare-const jitter Real) ; by how much that word was longer under way
(assert (<= 0.0 jitter))

(echo "4. cut one way: the holder presumes nothing while gap * (1 + rho) < D/2")
(push)
(assert (and (rate gg) (< (* gap (+ 1.0 rho)) presume_after)))
(assert (not (< (* gg gap) presume_after)))
(check-sat) ; expect: unsat
(pop)

; The standby speaks at q, then within i + i/4 (R-18), and that turn may be i/2 late unnoticed (R-13): 1.75
; by its clock. Later gaps, while it waits for D, are shorter: R-18 has it hurry.
(define-fun spoken ((words Real)) Bool (and (rate gs) (= (* gs (- gap jitter)) words)))

(echo "4. cut one way: so it is for H >= 4.5 i, if jitter is at most i/4")
(push)
(assert (and (spoken 1.75) (>= H 4.5) (<= jitter 0.25)))
(assert (not (< (* gap (+ 1.0 rho)) presume_after)))
(check-sat) ; expect: unsat
(pop)

(echo "4. cut one way: NOT SHOWN for the shortest lease, H = 3 i: a turn that is i/2 late is enough")
(push)
(assert (and shortest (spoken 1.75) (= jitter 0.0) (= gs gg gh 1.0) (>= (* gg gap) presume_after)))
(assert (and (<= a (+ q gap)) (patience (+ D more)) (= late kappa)))
(assert (> shut (+ T 0.2)))
(check-sat) ; expect: sat
(get-value (D gap a shut T))
(pop)

; If that late turn is also stopped between reading its clock and sending: the next one is due i/4 later
; (R-18), and may be i/2 late unnoticed. So the word leaves up to 2.5 i after q.
(echo "4. cut one way: NOT SHOWN for the default timing if that turn is also stopped before it sends")
(push)
(assert (and default (spoken 2.5) (= jitter 0.0) (= gs gg gh 1.0) (>= (* gg gap) presume_after)))
(assert (and (<= a (+ q gap)) (patience (+ D more)) (= late kappa)))
(assert (> shut (+ T 0.9)))
(check-sat) ; expect: sat
(get-value (D gap a shut T))
(pop)

(echo "4. cut one way: it holds even then for H >= 5.5 i and a jitter below i/4")
(push)
(assert (and (spoken 2.5) (>= H 5.5) (< jitter 0.25)))
(assert (not (< (* gap (+ 1.0 rho)) presume_after)))
(check-sat) ; expect: unsat
(pop)

(echo "4. cut one way: two never hold for longer than gap - 1.5 i / (1 + rho)")
(push)
(assert (and (<= a (+ q gap)) (patience (+ D more))))
(assert (not (<= (* (- shut T) (+ 1.0 rho)) (- (* gap (+ 1.0 rho)) more))))
(check-sat) ; expect: unsat
(pop)

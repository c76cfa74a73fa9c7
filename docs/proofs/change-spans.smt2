; R-22: the spans, for all reals. While one timing follows another, is a vote that a holder counts still bound when
; that hold's gate is shut? inequalities.smt2 asks this for one timing.
;
; `unsat` after a claim's negation: the claim holds. `sat`: there is a case that breaks it, and it is printed.
;
; A member is settled on one configuration, or toward another, or from another: so it goes by one timing, or by
; two. Its H is the shorter one; its D follows from the longer H, the larger kappa and the larger rho. What is true
; of kernels and clocks (kappa, rho) is what every configuration says, or better: who needs a larger one in a
; file may rely on it when all members have it in force, and not before.
(set-logic ALL)
(define-fun least ((x Real) (y Real)) Real (ite (< x y) x y))
(define-fun most ((x Real) (y Real)) Real (ite (< x y) y x))

; ---------------------------------------------------------------------------------------------
; 1. A vote, while its voter steps on: it lasts for D after its ask arrived, by the D of each state since then
; ---------------------------------------------------------------------------------------------
; By the voter's clock: the ask arrived, the vote is bound until; a step from one D into another.
(declare-const arrived Real)
(declare-const until Real)
(declare-const step Real)
(declare-const D_was Real)
(declare-const D_is Real)
(declare-const D_before Real)    ; of some state between the arrival and this step
(declare-const lengthens Bool)
(declare-const keeps Bool)
; `lengthen_vote` in vote.rs: by the difference, at most until D from now, and never for less than before.
(define-fun longer () Real (least (+ until (most 0.0 (- D_is D_was))) (+ step D_is)))
(define-fun until_is () Real (ite lengthens (ite keeps (most until longer) longer) until))
(define-fun voted () Bool (and (< 0.0 D_was) (< 0.0 D_is) (< 0.0 D_before) (<= arrived step) (< step until)
  (<= (+ arrived D_was) until) (<= (+ arrived D_before) until)))

(echo "1. after a step it lasts for D as of before, as of now, and as of any state since it was given; no shorter")
(push)
(assert (and lengthens keeps voted))
(assert (not (and (<= (+ arrived D_is) until_is) (<= (+ arrived D_was) until_is) (<= (+ arrived D_before) until_is)
  (<= until until_is))))
(check-sat) ; expect: unsat
(pop)

(echo "1. nor longer than one for an ask of now, unless it was longer before")
(push)
(assert (and lengthens keeps voted (> until_is until) (> until_is (+ step D_is))))
(check-sat) ; expect: unsat
(pop)

(echo "1. a step into a longer D that lengthens nothing")
(push)
(assert (and (not lengthens) voted (= arrived 0.0) (= D_was 300.0) (= D_is 1000.0) (= until 300.0) (= step 100.0)))
(assert (< until_is (+ arrived D_is)))
(check-sat) ; expect: sat
(get-value (until_is))
(pop)

(echo "1. a step into a shorter D that shortens")
(push)
(assert (and lengthens (not keeps) voted (= arrived 0.0) (= D_was 1000.0) (= D_is 300.0) (= step 100.0)))
(assert (< until_is until))
(check-sat) ; expect: sat
(get-value (until until_is))
(pop)

; ---------------------------------------------------------------------------------------------
; 2. A holder's state and a state of the voter's have one configuration in common: D covers the hold
; ---------------------------------------------------------------------------------------------
; They share s. The holder also goes by x, the voter by u; either may be s itself: then it is settled.
(declare-const H_s Real)
(declare-const H_x Real)
(declare-const H_u Real)
(declare-const kappa_s Real)
(declare-const kappa_u Real)
(declare-const rho_s Real)
(declare-const rho_u Real)
(declare-const kappa Real)       ; the truth
(declare-const rho Real)
(assert (and (< 0.0 H_s) (< 0.0 H_x) (< 0.0 H_u) (<= 0.0 kappa) (<= 0.0 rho) (< rho_s 1.0) (< rho_u 1.0)
  (<= kappa kappa_s) (<= rho rho_s) (<= 0.0 rho_u) (<= 0.0 kappa_u)))
(declare-const holder_shorter Bool)   ; the holder goes by the shorter H
(declare-const voter_longer Bool)     ; the voter's D follows from the longer H, kappa and rho
(define-fun H () Real (ite holder_shorter (least H_s H_x) (most H_s H_x)))
(declare-const D Real)
(define-fun follows ((h Real) (k Real) (r Real)) Bool (>= (* D (- 1.0 r)) (* (+ h k) (+ 1.0 r))))
(assert (ite voter_longer (follows (most H_s H_u) (most kappa_s kappa_u) (most rho_s rho_u))
  (follows H_u kappa_u rho_u)))
; True instants: the ask is sent, it arrives, the vote is free, the gate is shut.
(declare-const sent Real)
(declare-const arrives Real)
(declare-const free Real)
(declare-const shut Real)
(declare-const bound Real)            ; by the voter's clock, from the arrival until the vote is free: by 1., D at least
(assert (and (<= sent arrives) (<= arrives free) (<= D bound)))
(assert (<= bound (* (- free arrives) (+ 1.0 rho))))
(assert (>= (+ H kappa) (* (- shut sent) (- 1.0 rho))))

(define-fun exact () Bool (and (= kappa kappa_s) (= rho rho_s) (= sent arrives 0.0) (= bound D)
  (= D (* (- free arrives) (+ 1.0 rho))) (= (+ H kappa) (* (- shut sent) (- 1.0 rho)))
  (= (* D (- 1.0 (ite voter_longer (most rho_s rho_u) rho_u)))
     (* (+ (ite voter_longer (most H_s H_u) H_u) (ite voter_longer (most kappa_s kappa_u) kappa_u))
        (+ 1.0 (ite voter_longer (most rho_s rho_u) rho_u))))))

(echo "2. the gate is shut when the vote is free")
(push)
(assert (and holder_shorter voter_longer))
(assert (< free shut))
(check-sat) ; expect: unsat
(pop)

(echo "2. a holder that goes by the longer H; the voter is settled")
(push)
(assert (and (not holder_shorter) voter_longer exact (= H_u H_s) (= rho_u rho_s 0.0) (= kappa_u kappa_s 5.0)))
(assert (and (= H_s 300.0) (= H_x 1000.0)))
(assert (< free shut))
(check-sat) ; expect: sat
(get-value (free shut))
(pop)

(echo "2. a voter whose D follows from the next timing alone, which is shorter; the holder is settled")
(push)
(assert (and holder_shorter (not voter_longer) exact (= H_x H_s 1000.0) (= H_u 300.0) (= rho_u rho_s 0.0)))
(assert (= kappa_u kappa_s 5.0))
(assert (< free shut))
(check-sat) ; expect: sat
(get-value (free shut))
(pop)

(echo "2. the same H, and a kappa that falls")
(push)
(assert (and holder_shorter (not voter_longer) exact (= H_x H_s H_u 450.0) (= rho_u rho_s 0.0)))
(assert (and (= kappa_s 5.0) (= kappa_u 1.0)))
(assert (< free shut))
(check-sat) ; expect: sat
(get-value (free shut))
(pop)

(echo "2. the same H, and a rho that falls")
(push)
(assert (and holder_shorter (not voter_longer) exact (= H_x H_s H_u 450.0) (= rho_s 0.001) (= rho_u 0.0)))
(assert (= kappa_s kappa_u 0.0))
(assert (< free shut))
(check-sat) ; expect: sat
(get-value (free shut))
(pop)

; ---------------------------------------------------------------------------------------------
; 3. They do have one in common
; ---------------------------------------------------------------------------------------------
(declare-datatypes ((Step 0))
  (((settled (s_in Int)) (toward (t_in Int) (t_next Int)) (from (f_in Int) (f_before Int)))))
(define-fun in_force ((x Step)) Int (ite ((_ is settled) x) (s_in x) (ite ((_ is toward) x) (t_in x) (f_in x))))
(define-fun goes_by ((x Step) (c Int)) Bool (or (= c (in_force x))
  (and ((_ is toward) x) (= c (t_next x))) (and ((_ is from) x) (= c (f_before x)))))
(define-fun accepts ((x Step) (its Step)) Bool (or (= (in_force its) (in_force x))       ; `accepts` in change.rs
  (and ((_ is toward) x) (= (in_force its) (t_next x)))
  (and ((_ is from) x) (= its (toward (f_before x) (f_in x))))))
(define-fun next ((x Step) (y Step)) Bool (or (= x y)
  (and ((_ is settled) x) ((_ is toward) y) (= (t_in y) (s_in x)))
  (and ((_ is toward) x) (= y (from (t_next x) (t_in x))))
  (and ((_ is from) x) (= y (settled (f_in x))))))
(define-fun back ((x Step) (y Step)) Bool (and ((_ is toward) x) (= y (settled (t_in x)))))
(define-fun share ((x Step) (y Step)) Bool (or (goes_by y (in_force x))
  (and ((_ is toward) x) (goes_by y (t_next x))) (and ((_ is from) x) (goes_by y (f_before x)))))
; Each number is a configuration. The holder counts a vote in state `holder`, by the latest word that it accepted,
; in state `heard_in`, from the voter in state `voter`. It has taken one step since, at most, or gone back and forth:
; any further one waits for a newer word of each member that is heard, and what is not heard says nothing. The
; voter's states since the ask arrived are each a step from the one before: by part 1 the vote lasts for any D of these.
(declare-const heard_in Step)
(declare-const holder Step)
(declare-const voter Step)
(declare-const asked Step)

(echo "3. after a step on, the holder and the voter, as it was when it spoke")
(push)
(assert (and (accepts heard_in voter) (next heard_in holder)))
(assert (not (share holder voter)))
(check-sat) ; expect: unsat
(pop)

(echo "3. after a step back, the same, unless the voter had the other one in force, and was not from this one")
(push)
(assert (and (accepts heard_in voter) (back heard_in holder)))
(assert (not (share holder voter)))
(push)
(assert (not (and (= (in_force voter) (t_next heard_in)) (not (goes_by voter (in_force holder))))))
(check-sat) ; expect: unsat
(pop)
(check-sat) ; expect: sat
(get-value (heard_in holder voter))
; Then it did not accept the ask in that state, for a holder that has this one in force; so in an earlier one:
(assert (= (in_force asked) (in_force holder)))
(assert (accepts voter asked))
(check-sat) ; expect: unsat
(pop)

(echo "3. and in whatever state a voter accepts an ask, it shares the one in force where that was sent")
(push)
(assert (and (accepts voter asked) (= (in_force asked) (in_force holder)) (not (share holder voter))))
(check-sat) ; expect: unsat
(pop)

(echo "3. one that went on to c' without a newer word would count what one that is settled on c said")
(push)
(declare-const between Step)
(assert (and (accepts heard_in voter) (next heard_in between) (next between holder) (not (= heard_in between holder))))
(assert (not (share holder voter)))
(check-sat) ; expect: sat
(get-value (heard_in holder voter))
(pop)
